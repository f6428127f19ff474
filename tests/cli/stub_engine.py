"""An engine that does what its target says: stands in for nnlint.engine in the tests of the worker and the command."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from nnlint.config import CheckSettings
from nnlint.finding import Level
from nnlint.report import ReportedFinding, Skipped, TargetReport

FOUND = ReportedFinding(
    code="LOS001",
    name="softmax-before-cross-entropy",
    level=Level.ERROR,
    message="its output goes into cross_entropy",
    module="head",
    fix="return the logits",
    fingerprint="0123456789abcdef",
)


def check(target: str, settings: CheckSettings, *, on_progress: Callable[[TargetReport], None]) -> TargetReport:
    action, _, after = target.partition("@")
    partial = TargetReport(target=target, subject={"model": "Net"}, findings=[FOUND], timings={"capture": 0.1})
    if after == "loaded":
        on_progress(partial)
    ACTIONS.get(action, lambda: None)()
    findings = {"clean": [], "odd": [FOUND.model_copy(update={"evidence": {"value": float("nan"), "kind": object}})]}
    return partial.model_copy(
        update={
            "findings": findings.get(action, [FOUND]),
            "skipped": [Skipped(code="TRN006", name="x", reason="no validation data")],
            "subject": {"model": "Net", "settings": settings.model_dump_json()},
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


def _interrupt_parent() -> None:
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(600)


def _terminate_parent() -> None:
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(600)


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
    "interrupt": _interrupt_parent,
    "terminate": _terminate_parent,
}
