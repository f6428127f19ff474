"""Runs checks in a child process: a model that hangs, exits or crashes cannot take the report with it.

The parent writes one request (JSON) to the child's standard input. The child appends one frame (a line of JSON) to a
temporary file after every stage of a check, and one when a target is done. A file rather than a pipe: processes that
the user's code leaves behind cannot hold it open, and it works the same on every system.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from nnlint.config import CheckSettings
from nnlint.failure import FAILURES
from nnlint.finding import Level
from nnlint.report import ReportedFinding, TargetReport
from nnlint.reporters.json import plain

ENGINE = "nnlint.engine"
DEFAULT_TIMEOUT = 600.0

_POLL = 0.03  # seconds; far below what any check takes
_GRACE = 2.0  # seconds for exit handlers of user code once all targets are done


#: Called with the name of a longer probe ("probe"), the steps it has made ("done") and will make at most ("planned").
OnStep = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Checked:
    """The reports of all targets, in their order, and the version of torch that made them."""

    results: tuple[TargetReport, ...]
    torch: str = ""


@dataclass
class _Progress:
    """What one child has said so far."""

    finished: list[TargetReport] = field(default_factory=list)
    partial: TargetReport | None = None
    torch: str = ""
    on_step: OnStep | None = None

    def read(self, frame: dict[str, Any]) -> None:
        """Take one frame of the child."""
        report = TargetReport.model_validate(frame["report"])
        self.torch = frame["torch"] or self.torch
        if frame["final"]:
            self.finished.append(report)
            self.partial = None
        else:
            step = report.measurements.pop("progress", None)
            self.partial = report
            if step is not None and self.on_step is not None:
                self.on_step(step)


def check(
    targets: Sequence[str],
    settings: CheckSettings,
    *,
    timeout: float | None = None,
    engine: str | None = None,
    on_step: OnStep | None = None,
) -> Checked:
    """Check the targets in child processes, one for all of them as long as it lives.

    Args:
        targets: the targets, in the order of the reports.
        settings: how to check them.
        timeout: seconds that one target may take; None for ten minutes, or more where the budget asks for more.
        engine: name of the module whose `check` does the work.
        on_step: called now and then while a longer probe runs.
    """
    limit = timeout or max(DEFAULT_TIMEOUT, 2 * (settings.budget or 0.0))
    results: list[TargetReport] = []
    torch = ""
    while len(results) < len(targets):
        remaining = list(targets[len(results) :])
        progress = _Progress(on_step=on_step)
        failure = _run_child(remaining, settings, limit, engine or ENGINE, progress)
        torch = progress.torch or torch
        results += progress.finished
        if failure is not None:
            results.append(_lost(remaining[len(progress.finished)], progress.partial, failure))
    return Checked(tuple(results), torch)


def check_here(targets: Sequence[str], settings: CheckSettings, *, engine: str | None = None) -> Checked:
    """Check the targets in this process, for debuggers; what they print goes to standard error."""
    with _stdout_to_stderr():
        results = tuple(_guarded(target, settings, engine or ENGINE, lambda _: None) for target in targets)
    return Checked(results, _torch_version())


@dataclass(frozen=True)
class _Failure:
    """Why a child did not finish its targets."""

    reason: str
    timed_out: bool


def _run_child(
    targets: list[str], settings: CheckSettings, limit: float, engine: str, progress: _Progress
) -> _Failure | None:
    with tempfile.TemporaryDirectory(prefix="nnlint-", ignore_cleanup_errors=True) as folder:
        frames = Path(folder, "frames.jsonl")
        frames.touch()
        request = {"frames": str(frames), "engine": engine, "targets": targets, "settings": settings.model_dump_json()}
        with frames.open(encoding="utf-8") as stream, _terminable(), _child(json.dumps(request)) as child:
            return _follow(child, _Frames(stream), progress, len(targets), limit)


@contextlib.contextmanager
def _child(request: str) -> Iterator[subprocess.Popen[str]]:
    """A child that has its request; killed with its own children when the block is left, however it is left."""
    child = subprocess.Popen(
        [sys.executable, "-m", "nnlint.worker"],
        stdin=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=os.name == "posix",
    )
    assert child.stdin is not None
    try:
        with contextlib.suppress(BrokenPipeError), child.stdin:
            child.stdin.write(request)  # where the child has died at once, its exit status tells
        yield child
    finally:
        _kill(child)


def _kill(child: subprocess.Popen[str]) -> None:
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    child.wait()


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM unwind the stack like Ctrl-C: the child must not outlive a cancelled CI job."""

    def interrupt(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: the host program handles its signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass
class _Frames:
    """The complete lines that a child has added to its file."""

    stream: TextIO
    rest: str = ""

    def new(self) -> list[dict[str, Any]]:
        """Frames written since the last call; a line that is still being written waits."""
        *lines, self.rest = (self.rest + self.stream.read()).split("\n")
        return [json.loads(line) for line in lines]


def _follow(
    child: subprocess.Popen[str], frames: _Frames, progress: _Progress, expected: int, limit: float
) -> _Failure | None:
    """Read frames until all targets are done (None), the child ends or one target takes longer than the limit."""
    done, started = 0, time.monotonic()
    while True:
        ended = child.poll()  # before reading: what it wrote until then is in the file
        for frame in frames.new():
            progress.read(frame)
        if len(progress.finished) == expected:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_GRACE)
            return None
        if ended is not None:
            return _Failure(f"the process that ran it ended with {_status(ended)}", timed_out=False)
        if len(progress.finished) > done:
            done, started = len(progress.finished), time.monotonic()
        if time.monotonic() - started > limit:
            return _Failure(f"the check took longer than {limit:g} s and was stopped", timed_out=True)
        time.sleep(_POLL)


def _status(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"{name}, mostly a sign of too little memory" if name == "SIGKILL" else name


def _lost(target: str, partial: TargetReport | None, failure: _Failure) -> TargetReport:
    """The report of a target whose check did not come to its end: what was found until then, and why it ended."""
    loaded = partial is not None
    code = "RUN006" if loaded or failure.timed_out else "RUN001"
    if partial is None:
        report, stage = TargetReport(target=target), "before the model was loaded"
    else:
        report, stage = partial, f"after {_last_stage(partial)}"
    fix = (
        "raise --timeout, or make the target smaller: --batch-size, --static"
        if failure.timed_out
        else "run the target's code alone to see it fail, or nnlint check --in-process under a debugger"
    )
    finding = _fault(code, f"{failure.reason}, {stage}; what was found until then is kept", fix)
    return report.model_copy(update={"status": "failed", "findings": [*report.findings, finding]})


def _last_stage(partial: TargetReport) -> str:
    stages = [name for name in partial.timings if name not in {"total", "training_steps"}]
    return f"the stage {stages[-1]!r}" if stages else "the model was loaded"


def _fault(code: str, message: str, fix: str, trace: str | None = None) -> ReportedFinding:
    return ReportedFinding(
        code=code, name=FAILURES[code], level=Level.ERROR, message=message, fix=fix, trace=trace, evidence={}
    )


def _guarded(
    target: str, settings: CheckSettings, engine: str, on_progress: Callable[[TargetReport], None]
) -> TargetReport:
    """The engine's report; a fault of nnlint itself becomes a report too, so that the other targets are checked."""
    try:
        report = importlib.import_module(engine).check(target, settings, on_progress=on_progress)
        return TargetReport.model_validate(report)
    except SystemExit as error:
        message, trace = f"the code of the target called sys.exit({error.code!r})", traceback.format_exc()
        finding = _fault("RUN001", message, "keep sys.exit out of what is imported: if __name__ == '__main__'", trace)
    except Exception as error:
        message = f"nnlint itself failed: {type(error).__name__}: {error}"
        finding = _fault("RUN007", message, "please report this with the trace", traceback.format_exc())
    return TargetReport(target=target, status="failed", findings=[finding])


def _torch_version() -> str:
    return str(getattr(sys.modules.get("torch"), "__version__", ""))


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Send what is printed, by Python or by C code, to standard error."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def _frame(report: TargetReport, *, final: bool) -> str:
    """One line of JSON, with every number and name that the formats will show."""
    return json.dumps({"final": final, "torch": _torch_version(), "report": plain(report.model_dump())}) + "\n"


def main() -> None:
    """Serve one request: the child's side."""
    request = json.loads(sys.stdin.read())
    os.dup2(2, 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a crash must not swallow what was printed before it
    settings = CheckSettings.model_validate_json(request["settings"])
    with Path(request["frames"]).open("a", encoding="utf-8", buffering=1) as frames:

        def send(partial: TargetReport) -> None:
            frames.write(_frame(partial, final=False))

        for target in request["targets"]:
            final = _guarded(target, settings, request["engine"], send)
            frames.write(_frame(final, final=True))


if __name__ == "__main__":
    main()
