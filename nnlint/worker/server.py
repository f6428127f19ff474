"""The fork server: imports torch once, forks a job for each target, and ends with its parent."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import shutil
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

from nnlint.worker import job, messages
from nnlint.worker.descendants import adopt_orphans, die_with_parent, end_orphans, kill_group

_POLL = 0.02  # seconds


class _Commands:
    """Lines of JSON from the parent, read without waiting for the end of one."""

    def __init__(self) -> None:
        self._rest = b""
        self.ended = False

    def new(self, timeout: float) -> list[dict[str, Any]]:
        """The commands that came within `timeout` seconds."""
        ready, _, _ = select.select([0], [], [], timeout)
        if not ready:
            return []
        added = os.read(0, 1 << 16)
        self.ended = not added
        *lines, self._rest = (self._rest + added).split(b"\n")
        return [json.loads(line) for line in lines]


class _Server:
    """The jobs that run, by their process ids."""

    def __init__(self, events: Path) -> None:
        self._events = events
        self._running: dict[int, int] = {}

    def serve(self) -> None:
        """Follow the parent's commands until it has no more, or is no more; then end what still runs."""
        commands = _Commands()
        while not commands.ended:
            for command in commands.new(_POLL):
                if "run" in command:
                    self._start(command["index"], job.Request(**command["run"]))
                else:
                    self._stop(command["index"])
            self._reap()
        for pid in self._running:
            kill_group(pid)
        end_orphans(set())

    def _start(self, index: int, request: job.Request) -> None:
        server = os.getpid()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads of a math library, which survive a fork
            pid = os.fork()
        if pid == 0:
            _become_job(server, request)
        self._running[pid] = index
        messages.append(self._events, {"index": index, "started": pid})

    def _stop(self, index: int) -> None:
        for pid, running in self._running.items():
            if running == index:
                kill_group(pid)

    def _reap(self) -> None:
        """Tell of the jobs that ended, once everything that they started has ended as well."""
        for pid, index in list(self._running.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                del self._running[pid]
                kill_group(pid)  # what is left of its process group
                end_orphans(set(self._running))
                messages.append(self._events, {"index": index, "ended": os.waitstatus_to_exitcode(status)})


def _become_job(server: int, request: job.Request) -> None:
    """The child's side of the fork; does not return."""
    status = 1
    try:
        os.setsid()
        die_with_parent(server)
        adopt_orphans()
        signal.set_wakeup_fd(-1)
        job.run(request)
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(status)


def _warm(engine: str, jobs: int) -> None:
    """Import what the jobs need; whatever fails here fails in the job again, and is reported there."""
    gc.disable()  # the modules stay: looking for garbage among them takes as long as importing a seventh of them
    with contextlib.suppress(Exception):
        module = importlib.import_module(engine)
        warm = getattr(module, "warm", None)
        if warm is not None:
            warm(several=jobs > 1)
    gc.freeze()  # the collector would write to, and so copy, pages that the jobs share
    gc.enable()


def main() -> None:
    """Serve the parent that started this process: arguments are the file for events, the engine's name and the number of jobs."""
    events, engine, jobs = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    adopt_orphans()
    os.dup2(2, 1)
    _warm(engine, jobs)
    try:
        _Server(events).serve()
    finally:
        shutil.rmtree(events.parent, ignore_errors=True)  # the parent may be gone
