"""`nnlint check --watch`: a real process, real saves, a real Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from nnlint.cli import main

CONFIG = '[tool.nnlint]\ntargets = ["one.py:build", "two.py:build"]\n'
#: The command with the engine of the tests.
CALL = "import nnlint.worker.job as job; job.ENGINE = 'reading_engine'; from nnlint.cli import main; main()"
_PATIENCE = 60.0  # seconds on a busy machine


class Watched:
    """A running `nnlint check --watch` and what it has said."""

    def __init__(self, folder: Path, repository: Path, *arguments: str) -> None:
        here = Path(__file__).parent
        paths = os.pathsep.join(map(str, (here, repository, repository / "rules")))
        self.process = subprocess.Popen(
            [sys.executable, "-c", CALL, "check", "--watch", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    def until(self, text: str, *, after: int = 0) -> int:
        """Wait for a line that holds a text; gives the number of the line after it."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            for number, line in enumerate(self.lines[after:], after + 1):
                if text in line:
                    return number
            time.sleep(0.02)
        raise AssertionError(f"{text!r} was not said: {''.join(self.lines)}")

    def idle(self, *, after: int = 0) -> int:
        """Wait until it waits."""
        return self.until("watching; Ctrl-C ends", after=after)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    write(folder / "pyproject.toml", CONFIG)
    write(folder / "shared.py", "WORD = 'clean'\n")
    write(folder / "one.py", "import shared\ndef build():\n    return shared.WORD\n")
    write(folder / "two.py", "def build():\n    return 'clean'\n")
    return folder


@pytest.fixture
def watched(project: Path, repository: Path) -> Iterator[Watched]:
    running = Watched(project, repository)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()
        running.reader.join()
        running.process.stdout.close()


def write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def runs(project: Path) -> list[str]:
    return (project.parent / "runs.log").read_text().split()


def test_a_save_checks_what_hangs_on_it_and_nothing_else(project: Path, watched: Watched) -> None:
    at = watched.idle()
    assert runs(project) == ["one.py:build", "two.py:build"]
    write(project / "shared.py", "WORD = 'grave'\n")
    at = watched.until("changed: one.py:build\n", after=at)
    at = watched.idle(after=at)
    assert any("LOS001" in line for line in watched.lines)
    assert runs(project) == ["one.py:build", "two.py:build", "one.py:build"]
    write(project / "notes.md", "nothing hangs on it")
    write(project / "two.py", "def build():\n    return 'clean clean'\n")
    at = watched.until("changed: two.py:build\n", after=at)
    at = watched.idle(after=at)
    # A fault of syntax fails the target; the next save of the file mends it.
    write(project / "two.py", "def build(:\n")
    at = watched.idle(after=watched.until("changed: two.py:build\n", after=at))
    write(project / "two.py", "def build():\n    return 'clean'\n")
    at = watched.idle(after=watched.until("two.py:build\n", after=at))
    assert set(runs(project)[3:]) == {"two.py:build"}
    write(project / "pyproject.toml", CONFIG + "seed = 3\n")
    at = watched.idle(after=at)
    assert sorted(runs(project)[-2:]) == ["one.py:build", "two.py:build"]
    write(project / "pyproject.toml", CONFIG + "sead = 3\n")
    at = watched.until("unknown key sead", after=at)
    watched.process.send_signal(signal.SIGINT)
    assert watched.process.wait(_PATIENCE) == 0
    watched.reader.join()
    assert watched.lines[-1] == "nnlint: stopped\n"
    assert not any("Traceback" in line for line in watched.lines[at:])


def test_ctrl_c_during_a_check_leaves_nothing_behind(project: Path, watched: Watched) -> None:
    watched.idle()
    pid = project.parent / "pid"
    write(project / "two.py", f"import os, time\ndef build():\n    open({str(pid)!r}, 'w').write(str(os.getpid()))\n    time.sleep(600)\n")
    end = time.monotonic() + _PATIENCE
    while not (pid.exists() and pid.read_text()) and time.monotonic() < end:
        time.sleep(0.02)
    watched.process.send_signal(signal.SIGINT)
    assert watched.process.wait(_PATIENCE) == 0
    while Path(f"/proc/{pid.read_text()}").exists():
        assert time.monotonic() < end + _PATIENCE
        time.sleep(0.02)


def test_a_start_answers_from_the_cache(project: Path, repository: Path, watched: Watched) -> None:
    watched.idle()
    watched.process.send_signal(signal.SIGINT)
    watched.process.wait(_PATIENCE)
    again = Watched(project, repository)
    try:
        again.until("answered from .nnlint_cache: one.py:build, two.py:build")
        at = again.idle()
        write(project / "shared.py", "WORD = 'grave'\n")
        again.until("changed: one.py:build\n", after=at)
    finally:
        again.process.kill()
        again.process.wait()
        again.reader.join()
        again.process.stdout.close()


@pytest.mark.parametrize("option", ["--changed", "--output=x.json", "--in-process"])
def test_what_does_not_go_together_is_refused(stub: Path, option: str) -> None:
    done = CliRunner().invoke(main, ["check", "clean", "--watch", option])
    assert done.exit_code == 2
    assert "--watch does not go with" in done.stderr


def test_without_watchfiles_the_extra_is_named(stub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnlint.cli.watching.find_spec", lambda name: None)
    done = CliRunner().invoke(main, ["check", "clean", "--watch"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "pip install 'nnlint[watch]'" in done.stderr
