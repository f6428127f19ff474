"""Ending processes with everything they started, also what left their session; on Linux, by the kernel's own means."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

_PARENT_DEATH_SIGNAL = 1  # numbers of prctl(2)
_CHILD_SUBREAPER = 36


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when `parent`, which started it, ends, even by SIGKILL. Linux only."""
    if _prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL) and os.getppid() != parent:
        os._exit(1)  # it had ended before


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent ends: what calls setsid cannot get lost. Linux only."""
    _prctl(_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    with contextlib.suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).prctl(option, int(value), 0, 0, 0) == 0)
    return False


def kill_group(leader: int) -> None:
    """Kill a process and its process group."""
    for kill in (getattr(os, "killpg", None), os.kill):
        if kill is not None:
            with contextlib.suppress(OSError):
                kill(leader, getattr(signal, "SIGKILL", signal.SIGTERM))


def end_orphans(known: set[int]) -> None:
    """Kill this process's children other than `known`, and theirs as they come up, until there are none. Linux only."""
    while orphans := _children() - known:
        for orphan in orphans:
            kill_group(orphan)
            with contextlib.suppress(OSError):
                os.waitpid(orphan, 0)


def _children() -> set[int]:
    """The children of this process, whichever of its threads started them."""
    found: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found.update(map(int, task.read_text(encoding="ascii").split()))
    return found
