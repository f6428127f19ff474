"""The child process: what a target does to it must not cost the report."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nnlint import worker
from nnlint.config import CheckSettings
from nnlint.worker import Limits
from nnlint.worker.job import Request

SETTINGS = CheckSettings(seed=7)


def only(target: str, **arguments: object) -> object:
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
        ("exit", "RUN009", 0, "exit status 3, before the model was loaded"),
        ("exit@loaded", "RUN009", 1, "exit status 3, after the stage 'capture'"),
        ("segfault", "RUN009", 0, "SIGSEGV"),
        ("segfault@loaded", "RUN009", 1, "SIGSEGV"),
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
    hung, after = worker.check([target, "clean"], SETTINGS, limits=Limits(timeout=1.0)).results
    assert (hung.status, len(hung.findings), hung.findings[-1].code) == ("failed", kept + 1, "RUN006")
    assert "longer than 1 s" in hung.findings[-1].message
    assert after.status == "ok"


def test_each_player_has_a_report_and_a_lost_one_loses_no_other(stub):
    first, second = worker.check(["players@print"], SETTINGS).results
    assert (first.target, first.status, second.status) == ("players@print:first", "ok", "ok")
    first, lost = worker.check(["players@segfault"], SETTINGS).results
    assert (first.status, lost.status, lost.findings[-1].code) == ("ok", "failed", "RUN009")


def test_a_missing_engine_is_a_failure_not_a_clean_check(stub, monkeypatch):
    monkeypatch.setattr("nnlint.worker.job.ENGINE", "no_such_engine")
    result = only("fine")
    assert (result.status, result.findings[0].code) == ("failed", "RUN007")


def test_in_process_keeps_standard_output_clean(stub, capfd):
    (result,) = worker.check_here(["print"], SETTINGS).results
    os.write(1, b"afterwards\n")
    out, err = capfd.readouterr()
    assert (result.status, out) == ("ok", "afterwards\n")
    assert "printed by python" in err
    assert "written by C" in err


def alive(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def descendants_marked(folder: Path) -> list[str]:
    """The processes that were started below the folder and still run."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and (process / "cwd").resolve() == folder.resolve():
                found.append(process.name)
    return [name for name in found if int(name) != os.getpid()]


def wait_until(condition) -> bool:
    """Whether the condition comes true in the time that a very busy machine needs."""
    return any(condition() or time.sleep(0.05) for _ in range(600))


COMMAND = """
import conftest, nnlint.registry, nnlint.worker.job
from nnlint.registry import Registry
nnlint.registry.load = lambda: Registry(tuple(vars(c)['__nnlint_rule__'] for c in conftest._rules()))
nnlint.worker.job.ENGINE = 'stub_engine'
from nnlint.cli import main
main(['check', '{action}'])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends the processes")
@pytest.mark.parametrize(
    ("action", "status"),
    [
        ("interrupt", 130),
        ("terminate", 128 + signal.SIGTERM),
        ("hangup", 128 + signal.SIGHUP),
        ("kill", -signal.SIGKILL),
    ],
)
def test_nothing_outlives_the_command(stub, action, status, monkeypatch):
    temporary = stub / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    code = COMMAND.format(action=action)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    child = int(Path("pid").read_text(encoding="ascii"))
    assert wait_until(lambda: not alive(child))
    assert wait_until(lambda: not descendants_marked(stub)), "a process in a session of its own was left"
    assert wait_until(lambda: not list(temporary.iterdir())), "a temporary folder was left"


@pytest.mark.skipif(os.name != "posix", reason="the shell closes descriptors the POSIX way")
@pytest.mark.parametrize(("closed", "status"), [("<&-", 1), ("2>&-", 1), (">&-", 2), (">&- 2>&- <&-", 2)])
def test_a_command_that_cannot_print_its_report_fails(stub, closed, status):
    """The stub's finding makes the status 1 where it can be read; a report that nobody can read is no check."""
    Path("command.py").write_text(COMMAND.format(action="fine"), encoding="utf-8")
    done = subprocess.run(f"{sys.executable} command.py {closed}", shell=True, check=False, timeout=60)
    assert done.returncode == status


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel finds the processes")
def test_what_a_target_leaves_in_another_session_ends_with_it(stub):
    assert only("escaping").status == "ok"
    assert not descendants_marked(stub)


@pytest.mark.parametrize("fork", [True, False])
def test_targets_do_not_see_each_other(stub, fork):
    results = worker.check(["contaminate", "pristine", "clean"], SETTINGS, fork=fork).results
    assert [result.status for result in results] == ["ok"] * 3
    assert [result.target for result in results] == ["contaminate", "pristine", "clean"]


def test_several_targets_at_a_time_are_reported_in_their_order(stub):
    targets = ["rendezvous", "fine", "rendezvous@2", "clean"]
    results = worker.check(targets, SETTINGS, limits=Limits(jobs=2)).results
    assert [result.target for result in results] == targets
    assert [result.status for result in results] == ["ok"] * 4


def test_all_targets_are_forked_from_one_process_that_has_imported_the_engine(stub):
    results = worker.check(["fine", "clean"], SETTINGS).results
    assert len({result.subject["imported by"] for result in results}) == 1
    assert len({result.subject["process"] for result in results}) == 2


@pytest.mark.parametrize("action", ["fault", "exit"])
def test_a_crash_shows_the_line_of_the_user(stub, action):
    (finding,) = only(action).findings
    assert finding.code == "RUN009"
    assert finding.location.file.endswith("stub_engine.py")
    assert finding.location.function in ("check", "<lambda>")
    assert "most recent call first" in finding.trace


def test_the_time_limit_shows_the_line_that_was_running(stub):
    (finding,) = only("hang", limits=Limits(timeout=0.5)).findings
    assert (finding.code, finding.location.function) == ("RUN006", "_hang")


def test_a_job_ends_itself_at_its_limit(stub, tmp_path):
    """Also where nobody watches it any more."""
    request = Request("hang", SETTINGS.model_dump_json(), "stub_engine", str(tmp_path / "f"), str(tmp_path / "s"), 0.5)
    code = (
        "import sys; from nnlint.worker.job import Request, run; import json; run(Request(**json.loads(sys.argv[1])))"
    )
    done = subprocess.run([sys.executable, "-c", code, request.dumped()], check=False, timeout=60)
    assert done.returncode == 1
    assert "_hang" in (tmp_path / "s").read_text(encoding="utf-8")


def test_a_broken_line_is_a_failure_of_the_check(stub, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(stub))
    monkeypatch.setattr("tempfile.tempdir", str(stub))
    finding = only("broken@loaded").findings[-1]
    assert finding.code == "RUN007"
    assert "cannot be read" in finding.message


def test_closed_descriptors_do_not_lose_the_report(stub):
    assert [finding.code for finding in only("closed").findings] == ["LOS001"]


def test_text_that_no_file_can_hold_is_replaced(stub):
    (finding,) = only("surrogate").findings
    assert "sys.exit" in finding.message


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process are the system's")
def test_memory_beyond_the_limit_is_refused(stub):
    (finding,) = only("allocate", limits=Limits(memory=1 << 28)).findings
    assert "MemoryError" in finding.message
    assert only("fine", limits=Limits(memory=1 << 28)).status == "ok"


@pytest.mark.parametrize("name", ["json", "cuda", "select"])
def test_the_working_directory_shadows_nothing(stub, name):
    Path(f"{name}.py").write_text("raise RuntimeError('shadowed')", encoding="utf-8")
    assert only("fine").status == "ok"
