"""An engine that does what its target says: stands in for nnlint.players in the tests of the worker and the command."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from nnlint.config import CheckSettings
from nnlint.finding import Level
from nnlint.report import ReportedFinding, Skipped, TargetReport

IMPORTED_BY = os.getpid()

FOUND = ReportedFinding(
    code="LOS001",
    name="softmax-before-cross-entropy",
    level=Level.ERROR,
    message="its output goes into cross_entropy",
    module="head",
    fix="return the logits",
    fingerprint="0123456789abcdef",
)


def check(
    target: str, settings: CheckSettings, *, on_progress: Callable[[TargetReport], None]
) -> Iterator[TargetReport]:
    action, _, after = target.partition("@")
    partial = TargetReport(target=target, subject={"model": "Net"}, findings=[FOUND], timings={"capture": 0.1})
    if after == "loaded":
        on_progress(partial)
    ACTIONS.get(action, lambda: None)()
    if action == "players":
        yield TargetReport(target=f"{target}:first")
        ACTIONS[after]()
    findings = {"clean": [], "odd": [FOUND.model_copy(update={"evidence": {"value": float("nan"), "kind": object}})]}
    yield partial.model_copy(
        update={
            "findings": findings.get(action, [FOUND]),
            "skipped": [Skipped(code="TRN006", name="x", reason="no validation data")],
            "subject": {
                "model": "Net",
                "settings": settings.model_dump_json(),
                "process": os.getpid(),
                "imported by": IMPORTED_BY,
            },
            "timings": {"total": 0.5},
        }
    )


def _shout() -> None:
    sys.stdout.write("printed by python\n")
    os.write(1, b"written by C\n")
    ctypes.CDLL(None).puts(b"put by C")


def _hang() -> None:
    time.sleep(600)


def _grandchild() -> None:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    time.sleep(600)


def _escaping() -> None:
    """A child in a session of its own, whose parent has ended: no process group reaches it."""
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    subprocess.run([sys.executable, "-c", code], start_new_session=True, check=True)


def _parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])


def _signal_command(number: int) -> None:
    """Send a signal to the command: this process is a child of its server."""
    Path("pid").write_text(str(os.getpid()), encoding="ascii")
    _escaping()
    os.kill(_parent_of(os.getppid()), number)
    time.sleep(600)


def _contaminate() -> None:
    os.environ["LEFT"] = "behind"
    os.chdir("/")
    sys.path.insert(0, "left behind")


def _pristine() -> None:
    if "LEFT" in os.environ or Path.cwd() == Path("/") or "left behind" in sys.path:
        raise ValueError("another target was here")


def _rendezvous() -> None:
    """Ends when two of these run at the same time."""
    Path(str(os.getpid())).touch()
    while len([file for file in Path().iterdir() if file.name.isdigit()]) < 2:
        time.sleep(0.01)


def _write_over() -> None:
    """Write broken lines to the file of frames, as nothing should, and end."""
    for file in Path(tempfile.gettempdir()).glob("nnlint-*/*.jsonl"):
        if not file.name.startswith("events"):
            with file.open("a", encoding="ascii") as stream:  # the parent may have read what stands before
                stream.write('{"final": true, "report": 3}\nnot JSON\n')
    os.kill(os.getpid(), signal.SIGTERM)


def _allocate() -> None:
    kept = bytearray(1 << 30)
    raise AssertionError(f"{len(kept)} bytes were allowed")


def _crash() -> None:
    raise ValueError("a bug of nnlint")


ACTIONS: dict[str, Callable[[], object]] = {
    "print": _shout,
    "hang": _hang,
    "grandchild": _grandchild,
    "exit": lambda: os._exit(3),
    "sysexit": lambda: sys.exit("bye"),
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "crash": _crash,
    "interrupt": lambda: _signal_command(signal.SIGINT),
    "terminate": lambda: _signal_command(signal.SIGTERM),
    "hangup": lambda: _signal_command(signal.SIGHUP),
    "kill": lambda: _signal_command(signal.SIGKILL),
    "escaping": _escaping,
    "contaminate": _contaminate,
    "pristine": _pristine,
    "rendezvous": _rendezvous,
    "broken": _write_over,
    "closed": lambda: os.closerange(0, 256),
    "allocate": _allocate,
    "fault": faulthandler._sigsegv,
    "surrogate": lambda: sys.exit("\udcff"),
}
