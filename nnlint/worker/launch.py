"""How the parent starts and stops jobs: through the fork server, or each as a new process where a fork is not safe."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from nnlint.worker import boot, messages
from nnlint.worker.descendants import kill_group
from nnlint.worker.job import Request

#: Frameworks of macOS do not survive a fork once torch has loaded them.
CAN_FORK = hasattr(os, "fork") and sys.platform != "darwin"

_FAREWELL = 5.0  # seconds for a server to end what its jobs have left


class Launcher(Protocol):
    """Starts and stops jobs, which are known by a number."""

    def start(self, index: int, request: Request) -> None:
        """Start a job."""

    def stop(self, index: int) -> None:
        """End a job and everything that it started."""

    def started(self, index: int) -> bool:
        """Whether the job's own code runs by now."""

    def status(self, index: int) -> int | None:
        """The exit status of a job that has ended, below zero for a signal; None while it runs."""

    def close(self) -> None:
        """End all jobs."""


def _process(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - nnlint's own file
        [sys.executable, str(boot.__file__), *arguments], stdin=subprocess.PIPE, start_new_session=os.name == "posix"
    )


def _send(process: subprocess.Popen[bytes], line: str) -> None:
    with contextlib.suppress(OSError):  # where it has died, its exit status tells
        assert process.stdin is not None
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()


class ForkServer:
    """One server for all jobs; a new one where it has died."""

    def __init__(self, folder: Path, engine: str, jobs: int) -> None:
        self._folder, self._engine, self._jobs, self._count = folder, engine, jobs, 0
        self._started: set[int] = set()
        self._ended: dict[int, int] = {}
        self._asked: set[int] = set()
        self._begin()

    def _begin(self) -> None:
        self._count += 1
        self._events = messages.Tail(self._folder / f"events{self._count}.jsonl")
        self.process = _process(["serve", str(self._events.file), self._engine, str(self._jobs)])

    def start(self, index: int, request: Request) -> None:
        """Ask the server for a job."""
        gone = self.process.poll()
        if gone is not None:
            self._read()
            self._ended = {**dict.fromkeys(self._asked, gone), **self._ended}
            self._begin()
        self._asked.add(index)
        _send(self.process, json.dumps({"index": index, "run": asdict(request)}))

    def stop(self, index: int) -> None:
        """Ask the server to end a job; a server that has not come to start it is ended itself."""
        if self.started(index):
            _send(self.process, json.dumps({"index": index, "stop": True}))
        else:
            kill_group(self.process.pid)

    def started(self, index: int) -> bool:
        """Whether the server has forked the job."""
        self._read()
        return index in self._started

    def status(self, index: int) -> int | None:
        """What the server said of the job, or the server's own exit status."""
        gone = self.process.poll()
        self._read()
        return self._ended.get(index, gone if index in self._asked else None)

    def _read(self) -> None:
        for event in self._events.new():
            if "ended" in event:
                self._ended[event["index"]] = event["ended"]
            else:
                self._started.add(event["index"])

    def close(self) -> None:
        """End the server, which ends its jobs first."""
        self._read()
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        if self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_FAREWELL)
        kill_group(self.process.pid)
        self.process.wait()


class NewProcesses:
    """A new process for each job."""

    def __init__(self) -> None:
        self._jobs: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, index: int, request: Request) -> None:
        """Start the job's process."""
        self._jobs[index] = _process(["job"])
        _send(self._jobs[index], request.dumped())

    def stop(self, index: int) -> None:
        """Kill the process and its group."""
        kill_group(self._jobs[index].pid)

    def started(self, index: int) -> bool:
        """Whether it was started at all: its imports count."""
        return index in self._jobs

    def status(self, index: int) -> int | None:
        """Its exit status."""
        return self._jobs[index].poll()

    def close(self) -> None:
        """Kill what still runs."""
        for process in self._jobs.values():
            kill_group(process.pid)
            process.wait()
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
