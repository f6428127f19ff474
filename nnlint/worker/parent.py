"""The parent's side: which job runs when, what it has said, and what became of it."""

from __future__ import annotations

import contextlib
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnlint.cache.recording import Used
from nnlint.config import CheckSettings
from nnlint.report import TargetReport
from nnlint.worker import job
from nnlint.worker.launch import CAN_FORK, ForkServer, Launcher, NewProcesses
from nnlint.worker.messages import Tail
from nnlint.worker.reports import Answer, Checked, Failure, lost

DEFAULT_TIMEOUT = 600.0

_POLL = 0.02  # seconds; far below what any check takes
_GRACE = 2.0  # seconds for exit handlers of user code once its target is done, and for a job to end itself at its limit
_START = 120.0  # seconds for the import of torch, before the first job runs

#: Called with the name of a longer probe ("probe"), the steps it has made ("done") and will make at most ("planned").
OnStep = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Limits:
    """What jobs may use.

    Attributes:
        timeout: seconds that one target may take; None for ten minutes, or more where the budget asks for more.
        memory: bytes that one target may allocate; None for no limit.
        jobs: how many targets are checked at a time.
    """

    timeout: float | None = None
    memory: int | None = None
    jobs: int = 1

    def seconds(self, settings: CheckSettings) -> float:
        """The time limit of one target."""
        return self.timeout or max(DEFAULT_TIMEOUT, 2 * (settings.budget or 0.0))


@dataclass(frozen=True)
class Task:
    """A target, how to check it and what that may use.

    Attributes:
        target: what to check.
        settings: how to check it.
        timeout: seconds it may take; None as for `Limits`.
        memory: bytes it may allocate; None for no limit.
    """

    target: str
    settings: CheckSettings
    timeout: float | None = None
    memory: int | None = None


@dataclass
class _Job:
    """A target while it is checked."""

    index: int
    request: job.Request
    tail: Tail
    since: float = field(default_factory=time.monotonic)
    running: bool = False
    partial: TargetReport | None = None
    finals: list[TargetReport] = field(default_factory=list)
    failure: Failure | None = None
    torch: str = ""
    done: float | None = None
    used: Used | None = None

    def read(self, on_step: OnStep | None) -> None:
        """Take what the job has said since the last call."""
        for frame in self.tail.new():
            if "reports" in frame:  # how many there were: one that cannot be read must not pass for none
                self.done = time.monotonic() if frame["reports"] == len(self.finals) > 0 else None
                self.used = Used.of_json(frame["used"]) if frame.get("used") else None
                continue
            try:
                report = TargetReport.model_validate(frame["report"])
                self.torch = frame["torch"] or self.torch
                final = bool(frame["final"])
            except (KeyError, ValueError):
                self.tail.broken += 1
                continue
            step = report.measurements.pop("progress", None)
            if final:
                self.finals.append(report)
                self.partial = None
            else:
                self.partial = report
                if step is not None and on_step is not None:
                    on_step(step)

    def answer(self) -> Answer:
        """What is said of the target in the end: a report, or one for each player."""
        if self.done is not None:
            return Answer(self.request.target, tuple(self.finals), self.torch, self.used)
        assert self.failure is not None
        ended = lost(self.request.target, self.partial, self.failure)
        return Answer(self.request.target, (*self.finals, ended), self.torch)


def check(
    targets: Sequence[str],
    settings: CheckSettings,
    *,
    limits: Limits | None = None,
    engine: str | None = None,
    on_step: OnStep | None = None,
    fork: bool = CAN_FORK,
) -> Checked:
    """Check each target in a process of its own, all of them in one way.

    Args:
        targets: the targets, in the order of the reports.
        settings: how to check them.
        limits: time and memory of one target, and how many are checked at a time.
        engine: name of the module whose `check` does the work.
        on_step: called now and then while a longer probe runs.
        fork: start the processes from one that has imported torch.
    """
    allowed = limits or Limits()
    tasks = [Task(target, settings, allowed.timeout, allowed.memory) for target in targets]
    return check_tasks(tasks, jobs=allowed.jobs, engine=engine, on_step=on_step, fork=fork)


def check_tasks(
    tasks: Sequence[Task],
    *,
    jobs: int = 1,
    engine: str | None = None,
    on_step: OnStep | None = None,
    fork: bool = CAN_FORK,
    record: bool = False,
) -> Checked:
    """Check each task's target in a process of its own, `jobs` at a time; the other arguments are those of `check`.

    With `record` the answers tell what the targets used, for the cache.
    """
    name = engine or job.ENGINE
    with tempfile.TemporaryDirectory(prefix="nnlint-", ignore_cleanup_errors=True) as path, _terminable():
        folder = Path(path)
        launcher: Launcher = ForkServer(folder, name, len(tasks)) if fork else NewProcesses()
        with contextlib.closing(launcher):
            planned = [
                _Job(index, _request(task, name, folder / str(index), record=record), Tail(_messages(folder, index)))
                for index, task in enumerate(tasks)
            ]
            _run(planned, launcher, jobs, on_step)
    return Checked(tuple(done.answer() for done in planned))


def check_tasks_here(tasks: Sequence[Task]) -> Checked:
    """Check each task's target in this process, for debuggers: no isolation, no limits."""
    return Checked(tuple(answer for task in tasks for answer in job.check_here([task.target], task.settings).answers))


def _messages(folder: Path, index: int) -> Path:
    return folder / f"{index}.jsonl"


def _request(task: Task, engine: str, stem: Path, *, record: bool) -> job.Request:
    return job.Request(
        target=task.target,
        settings=task.settings.model_dump_json(),
        engine=engine,
        messages=f"{stem}.jsonl",
        stack=f"{stem}.stack",
        limit=Limits(task.timeout).seconds(task.settings),
        memory=task.memory,
        record=record,
    )


def _run(jobs: Sequence[_Job], launcher: Launcher, at_once: int, on_step: OnStep | None) -> None:
    """Run the jobs in their order, so many at a time."""
    waiting, running = list(jobs), list[_Job]()
    while waiting or running:
        while waiting and len(running) < at_once:
            begun = waiting.pop(0)
            begun.since = time.monotonic()
            launcher.start(begun.index, begun.request)
            running.append(begun)
        running = [current for current in running if not _follow(current, launcher, on_step)]
        if running:
            time.sleep(_POLL)


def _follow(current: _Job, launcher: Launcher, on_step: OnStep | None) -> bool:
    """Read what a job has said; whether it is over."""
    status = launcher.status(current.index)  # before reading: what it wrote until then is in the file
    current.read(on_step)
    now = time.monotonic()
    if not current.running and launcher.started(current.index):
        current.running, current.since = True, now
    if status is not None:
        if current.done is None and current.failure is None:
            current.failure = _failure(current, status)
        return True
    limit = current.request.limit + (_GRACE if current.running else _START)
    if current.done is not None and now - current.done > _GRACE:
        launcher.stop(current.index)
    elif current.done is None and current.failure is None and now - current.since > limit:
        current.failure = Failure.timeout(current.request.limit, _stack(current))
        launcher.stop(current.index)
    return False


def _failure(current: _Job, status: int) -> Failure:
    """Why a job ended without a report; at its limit it ends itself."""
    stack = _stack(current)
    if status == 1 and stack.startswith("Timeout"):
        return Failure.timeout(current.request.limit, stack)
    if current.tail.broken:
        fix = "please report this; --in-process shows where it comes from"
        return Failure("RUN007", "nnlint itself failed: the report of the process cannot be read", fix, stack)
    return Failure.ended(status, stack)


def _stack(current: _Job) -> str:
    try:
        return Path(current.request.stack).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the stack like Ctrl-C: no job must outlive a cancelled CI job or a closed terminal."""

    def interrupt(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]  # nohup
    try:
        before = {number: signal.signal(number, interrupt) for number in numbers}
    except ValueError:  # not the main thread: the host program handles its signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
