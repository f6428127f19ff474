"""One target in a process of its own, or in this one for debuggers: the side that runs the user's code."""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import importlib
import io
import json
import os
import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnlint.cache.recording import Recording
from nnlint.config import CheckSettings
from nnlint.report import TargetReport
from nnlint.reporters.json import plain
from nnlint.worker import messages
from nnlint.worker.reports import Answer, Checked, fault
from nnlint.worker.streams import stdout_to_stderr

ENGINE = "nnlint.players"


@dataclass(frozen=True)
class Request:
    """What a job has to do.

    Attributes:
        target: what to check.
        settings: of the check, as JSON.
        engine: name of the module whose `check` does the work.
        messages: the file that the reports go to.
        stack: the file that the stack goes to when the process ends before its time.
        limit: seconds after which the job ends itself.
        memory: bytes that the job may use; None for no limit.
        record: whether to tell what the target used, for the cache.
    """

    target: str
    settings: str
    engine: str
    messages: str
    stack: str
    limit: float
    memory: int | None = None
    record: bool = False

    def dumped(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))


def run(request: Request) -> None:
    """Check the target of a request in this process, which does nothing else before or after."""
    _quiet_descriptors()
    file = Path(request.messages)
    _write_stack_at_the_end(Path(request.stack), request.limit)
    limit_memory(request.memory)
    settings = CheckSettings.model_validate_json(request.settings)
    recording = _recording(request, settings) if request.record else None

    def send(partial: TargetReport) -> None:
        messages.append(file, _frame(partial, final=False))

    count = 0
    for report in guarded(request.target, settings, request.engine, send):
        messages.append(file, _frame(report, final=True))
        count += 1
    messages.append(file, {"reports": count, "used": _used(recording)})
    faulthandler.cancel_dump_traceback_later()
    # The process of a fork never comes back to the interpreter's own end: exit handlers of user code run here.
    atexit._run_exitfuncs()  # noqa: SLF001 - the only way to it


def _recording(request: Request, settings: CheckSettings) -> Recording | None:
    """What records the target's dependencies; None where it cannot: the result is told then, and not kept."""
    try:
        recording = Recording(Path(f"{request.messages}.used"), settings.directory or Path.cwd())
        recording.begin()
    except Exception:
        return None
    return recording


def _used(recording: Recording | None) -> dict[str, Any] | None:
    try:
        return recording.used().as_json() if recording is not None else None
    except Exception:  # the target may have changed anything that the recording looks at
        return None


def _quiet_descriptors() -> None:
    """Nothing to read, and what is printed, by Python or by C code, goes to standard error."""
    with contextlib.suppress(OSError):
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
    with contextlib.suppress(OSError):
        os.dup2(2, 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a crash must not swallow what was printed before it


def _write_stack_at_the_end(file: Path, limit: float) -> None:
    """Let a crash, an `os._exit` and the time limit leave the stack of the line that was running."""
    stack = file.open("wb", buffering=0)  # as long as the process lives
    faulthandler.enable(file=stack, all_threads=False)
    faulthandler.dump_traceback_later(limit, exit=True, file=stack)
    own, leave = os.getpid(), os._exit

    def leave_with_stack(status: int) -> None:
        if os.getpid() == own:  # processes that user code forks end this way as well
            with contextlib.suppress(OSError, ValueError):
                faulthandler.dump_traceback(file=stack, all_threads=False)
        leave(status)

    vars(os)["_exit"] = leave_with_stack


def limit_memory(limit: int | None) -> None:
    """Let allocations fail beyond what the process uses now and `limit` bytes.

    Raises:
        OSError: the system has no such limit.
    """
    if limit is None:
        return
    try:
        import resource
    except ImportError as error:
        raise OSError("this system cannot limit the memory of a process") from error
    status = Path("/proc/self/status")
    used = 0
    if status.exists():
        kilobytes = next(
            line.split()[1] for line in status.read_text(encoding="utf-8").splitlines() if "VmData" in line
        )
        used = int(kilobytes) * 1024
    # Data, not address space: a GPU's driver reserves addresses by the terabyte.
    resource.setrlimit(resource.RLIMIT_DATA, (used + limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def check_here(targets: Sequence[str], settings: CheckSettings, *, engine: str | None = None) -> Checked:
    """Check the targets in this process, for debuggers; what they print goes to standard error."""
    answers = []
    with stdout_to_stderr():
        for target in targets:
            reports = tuple(guarded(target, settings, engine or ENGINE, lambda _: None))
            answers.append(Answer(target, reports, _torch_version()))
    return Checked(tuple(answers))


def guarded(
    target: str, settings: CheckSettings, engine: str, on_progress: Callable[[TargetReport], None]
) -> Iterator[TargetReport]:
    """The engine's reports; a fault of nnlint itself becomes a report too, so that the other targets are checked."""
    try:
        for report in importlib.import_module(engine).check(target, settings, on_progress=on_progress):
            yield TargetReport.model_validate(report)
        return
    except SystemExit as error:
        message, trace = f"the code of the target called sys.exit({error.code!r})", traceback.format_exc()
        finding = fault("RUN001", message, "keep sys.exit out of what is imported: if __name__ == '__main__'", trace)
    except Exception as error:
        message = f"nnlint itself failed: {type(error).__name__}: {error}"
        finding = fault("RUN007", message, "please report this with the trace", traceback.format_exc())
    yield TargetReport(target=target, status="failed", findings=[finding])


def _torch_version() -> str:
    return str(getattr(sys.modules.get("torch"), "__version__", ""))


def _frame(report: TargetReport, *, final: bool) -> dict[str, Any]:
    """What one line says, with every number and name that the formats will show."""
    return {"final": final, "torch": _torch_version(), "report": plain(report.model_dump())}


def main() -> None:
    """Run one job in a process that was started for it: its request is the first line of standard input."""
    stream = os.fdopen(os.dup(0), "r", encoding="utf-8")
    request = Request(**json.loads(stream.readline()))

    def end_with_parent() -> None:
        stream.read()  # to its end: the parent closes it, or has ended
        shutil.rmtree(Path(request.messages).parent, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    run(request)
