"""Ends of a script that no exception tells of: `os._exit`, and `os.exec*`, which puts another program in its place."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from nnlint.observation.patches import Patches


class ProcessReplaced(Exception):
    """The script ran another program in its place: what that one does is not watched."""


class Leaving:
    """Watches how this process, and no child that it forks, leaves.

    Args:
        leave: reports and gives the exit status; None lets the script do what it wanted.
    """

    def __init__(self, leave: Callable[[BaseException], int | None]) -> None:
        self._leave = leave
        self._process = os.getpid()
        self._patches = Patches()
        self._status: int | None = None

    def install(self) -> None:
        """Begin."""
        end = os._exit

        def exits(original: Any) -> Any:
            def _exit(status: int) -> None:
                self._report(SystemExit(status), sys._getframe().f_back, end)
                original(status)

            return _exit

        def replaces(original: Any) -> Any:
            def execute(*arguments: Any) -> None:
                told = f"the script put another program in its place ({original.__name__}): nnlint does not watch that one"
                self._report(ProcessReplaced(told), sys._getframe().f_back, end)
                original(*arguments)

            return execute

        self._patches.replace(os, "_exit", exits)
        for name in ("execv", "execve"):  # the others call these
            self._patches.replace(os, name, replaces)

    def remove(self) -> None:
        """End; may be called again."""
        self._patches.undo()

    def judged(self, status: int) -> None:
        """The report is out: this is the exit status, also where the script calls `os._exit` as the interpreter exits."""
        self._status = status
        atexit.register(self.install)  # runs before what the script has registered

    def _report(self, error: BaseException, caller: FrameType | None, end: Callable[[int], None]) -> None:
        if os.getpid() != self._process:
            return
        self.remove()
        if caller is not None:
            error = error.with_traceback(TracebackType(None, caller, max(caller.f_lasti, 0), caller.f_lineno))
        status = self._leave(error) if self._status is None else self._status
        if status is not None:
            end(status)
