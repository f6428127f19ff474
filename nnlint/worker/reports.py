"""The report of a target whose check did not come to its end: what was found until then, and why it ended."""

from __future__ import annotations

import linecache
import os
import re
import signal
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nnlint.cache.closure import Closure
from nnlint.cache.recording import Used
from nnlint.failure import FAILURES
from nnlint.finding import Level
from nnlint.report import ReportedFinding, SourceLocation, TargetReport

_FRAME = re.compile(r'  File "(?P<file>[^"]+)", line (?P<line>\d+) in (?P<function>\S+)')
_PACKAGE = str(Path(__file__).absolute().parent.parent)


@dataclass(frozen=True)
class Answer:
    """What is said of one target.

    Attributes:
        target: as it was named.
        reports: its report, or one for each player.
        torch: the version of torch that measured.
        used: what the target used, where that was recorded.
        closure: what an answer from the cache hangs on.
    """

    target: str
    reports: tuple[TargetReport, ...]
    torch: str = ""
    used: Used | None = None
    closure: Closure | None = None


@dataclass(frozen=True)
class Checked:
    """The answers for all targets, in their order."""

    answers: tuple[Answer, ...]

    @property
    def results(self) -> tuple[TargetReport, ...]:
        """The reports of all targets."""
        return tuple(report for answer in self.answers for report in answer.reports)

    @property
    def torch(self) -> str:
        """The version of torch that measured."""
        return next((answer.torch for answer in self.answers if answer.torch), "")


@dataclass(frozen=True)
class Failure:
    """Why a job did not finish its target.

    Attributes:
        code: RUN006 for a limit, RUN009 for a process that ended by itself.
        reason: in words.
        fix: what to change.
        stack: what faulthandler wrote when it ended.
    """

    code: str
    reason: str
    fix: str
    stack: str = ""

    @classmethod
    def timeout(cls, limit: float, stack: str) -> Failure:
        """The check took longer than `limit` seconds."""
        fix = "raise --timeout, or make the target smaller: --batch-size, --static"
        return cls("RUN006", f"the check took longer than {limit:g} s and was stopped", fix, stack)

    @classmethod
    def ended(cls, status: int, stack: str) -> Failure:
        """The process ended with an exit status, or by a signal where it is below zero."""
        name = _signal_name(-status) if status < 0 else ""
        if name == "SIGKILL":
            fix = "make the target smaller (--batch-size, --static), or free memory"
            reason = "the process that ran it was killed (SIGKILL), mostly a sign of too little memory"
            return cls("RUN006", reason, fix, stack)
        how = f"crashed with {name}" if name else f"ended with exit status {status}"
        fix = "run the target's code alone to see it fail, or nnlint check --in-process under a debugger"
        return cls("RUN009", f"the process that ran it {how}", fix, stack)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def lost(target: str, partial: TargetReport | None, failure: Failure) -> TargetReport:
    """The report of a target that was lost; `partial` is what the job had sent."""
    report = partial or TargetReport(target=target)
    stage = "before the model was loaded" if partial is None else f"after {_last_stage(partial)}"
    message = f"{failure.reason}, {stage}; what was found until then is kept"
    place = user_line(failure.stack)
    stack = failure.stack if place is None else _without_own_frames(failure.stack)
    finding = fault(failure.code, message, failure.fix, stack.strip() or None)
    finding = finding.model_copy(update={"location": place})
    return report.model_copy(update={"status": "failed", "findings": [*report.findings, finding]})


def _last_stage(partial: TargetReport) -> str:
    stages = [name for name in partial.timings if name not in {"build", "total", "training_steps"}]
    return f"the stage {stages[-1]!r}" if stages else "the model was loaded"


def fault(code: str, message: str, fix: str, trace: str | None = None) -> ReportedFinding:
    """A RUN finding about a whole target."""
    return ReportedFinding(
        code=code, name=FAILURES[code], level=Level.ERROR, message=message, fix=fix, trace=trace, evidence={}
    )


def user_line(stack: str) -> SourceLocation | None:
    """The innermost line of the user's code in a stack as faulthandler writes it, the most recent call first."""
    frames = [match.groupdict() for match in _FRAME.finditer(stack)]
    for roots in (_foreign(), (_PACKAGE,)):
        for frame in frames:
            file = frame["file"]
            if not file.startswith(("<", *roots)):
                text = linecache.getline(file, int(frame["line"])).rstrip("\n") or None
                return SourceLocation(file=_shown(file), line=int(frame["line"]), function=frame["function"], text=text)
    return None


def _without_own_frames(stack: str) -> str:
    """The stack without nnlint's frames, which say nothing of what ended the process."""
    kept = [line for line in stack.splitlines() if f'File "{_PACKAGE}{os.sep}' not in line]
    return "\n".join(kept)


def _foreign() -> tuple[str, ...]:
    """Where code lies that is not the user's: nnlint, the standard library, installed packages."""
    return (_PACKAGE, *_library_roots())


def _library_roots() -> Iterator[str]:
    paths = sysconfig.get_paths()
    yield from (paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib") if name in paths)
    import importlib.util

    torch = importlib.util.find_spec("torch")
    if torch is not None and torch.origin is not None:
        yield str(Path(torch.origin).parent)


def _shown(file: str) -> str:
    try:
        return Path(file).resolve().relative_to(Path.cwd()).as_posix()
    except (ValueError, OSError):
        return file
