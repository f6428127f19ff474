"""The child process: what a target does to it must not cost the report."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nnlint import worker
from nnlint.config import CheckSettings

SETTINGS = CheckSettings(seed=7)


def only(target: str, **arguments: float) -> object:
    (result,) = worker.check([target], SETTINGS, **arguments).results
    return result


def test_the_report_and_the_settings_pass_through(stub):
    result = only("fine")
    assert (result.status, [finding.code for finding in result.findings]) == ("ok", ["LOS001"])
    assert CheckSettings.model_validate_json(result.subject["settings"]) == SETTINGS


def test_what_user_code_prints_goes_to_standard_error(stub, capfd):
    only("print")
    out, err = capfd.readouterr()
    assert out == ""
    assert all(text in err for text in ("printed by python", "written by C"))


def test_strange_evidence_passes_through(stub):
    (finding,) = only("odd").findings
    assert finding.evidence == {"value": "nan", "kind": "<class 'object'>"}


@pytest.mark.parametrize(
    ("target", "code", "kept", "words"),
    [
        ("exit", "RUN001", 0, "exit status 3, before the model was loaded"),
        ("exit@loaded", "RUN006", 1, "exit status 3, after the stage 'capture'"),
        ("segfault", "RUN001", 0, "SIGSEGV"),
        ("segfault@loaded", "RUN006", 1, "SIGSEGV"),
        ("sysexit", "RUN001", 0, "sys.exit('bye')"),
        ("crash", "RUN007", 0, "nnlint itself failed: ValueError: a bug of nnlint"),
    ],
)
def test_a_dying_target_is_reported_and_the_others_are_checked(stub, target, code, kept, words):
    before, lost, after = worker.check(["fine", target, "clean"], SETTINGS).results
    assert (before.status, after.status, after.target) == ("ok", "ok", "clean")
    assert (lost.status, lost.target, len(lost.findings)) == ("failed", target, kept + 1)
    assert lost.findings[-1].code == code
    assert words in lost.findings[-1].message


@pytest.mark.parametrize(("target", "kept"), [("hang", 0), ("hang@loaded", 1), ("grandchild", 0)])
def test_a_hanging_target_is_stopped(stub, target, kept):
    started = time.monotonic()
    hung, after = worker.check([target, "clean"], SETTINGS, timeout=1.0).results
    assert time.monotonic() - started < 20
    assert (hung.status, len(hung.findings), hung.findings[-1].code) == ("failed", kept + 1, "RUN006")
    assert "longer than 1 s" in hung.findings[-1].message
    assert after.status == "ok"


def test_a_missing_engine_is_a_failure_not_a_clean_check(stub, monkeypatch):
    monkeypatch.setattr(worker, "ENGINE", "no_such_engine")
    result = only("fine")
    assert (result.status, result.findings[0].code) == ("failed", "RUN007")


def test_in_process_keeps_standard_output_clean(stub, capfd):
    (result,) = worker.check_here(["print"], SETTINGS).results
    os.write(1, b"afterwards\n")
    out, err = capfd.readouterr()
    assert (result.status, out) == ("ok", "afterwards\n")
    assert "printed by python" in err
    assert "written by C" in err


@pytest.mark.skipif(os.name != "posix", reason="signals are sent the POSIX way")
@pytest.mark.parametrize(("action", "status"), [("interrupt", 130), ("terminate", 128 + signal.SIGTERM)])
def test_interrupting_kills_the_child(stub, action, status):
    code = (
        "import conftest, nnlint.registry, nnlint.worker\n"
        "from nnlint.registry import Registry\n"
        "nnlint.registry.load = lambda: Registry(tuple(vars(c)['__nnlint_rule__'] for c in conftest._rules()))\n"
        "nnlint.worker.ENGINE = 'stub_engine'\n"
        "kill = nnlint.worker._kill\n"
        "nnlint.worker._kill = lambda child: (kill(child), print('killed', child.pid))\n"
        "from nnlint.cli import main\n"
        f"main(['check', '{action}'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    child = int(done.stdout.split()[-1])
    assert not Path(f"/proc/{child}").exists()
