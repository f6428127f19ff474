"""What the operating system keeps of a process and a forward can change: file mask, locale, limits, timers, signals, processors."""

from __future__ import annotations

import locale
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from nnlint.guard.process import Setting

_STATUS = Path("/proc/self/status")
_TIMERS = ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")


def system_settings() -> Iterator[Setting]:
    """The settings, read now; those that this system has."""
    yield Setting.of("file mask", _mask, os.umask)
    yield Setting.of("locale", lambda: locale.setlocale(locale.LC_ALL), lambda kept: locale.setlocale(locale.LC_ALL, kept))
    with suppress(ImportError):
        import resource

        yield Setting.of("resource limits", lambda: _limits(resource), lambda kept: _set_limits(resource, kept))
    for name in _TIMERS:
        if hasattr(signal, "getitimer") and hasattr(signal, name):
            yield _timer(getattr(signal, name))
    if hasattr(signal, "pthread_sigmask"):
        yield Setting.of(
            "blocked signals",
            lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()),
            lambda kept: signal.pthread_sigmask(signal.SIG_SETMASK, kept),
        )
    if hasattr(os, "sched_getaffinity"):
        yield Setting.of("processors", lambda: os.sched_getaffinity(0), lambda kept: os.sched_setaffinity(0, kept))
    yield Setting.of("stack size of threads", threading.stack_size, threading.stack_size)


def _mask() -> int:
    """The file mask, which can only be read by setting it where the kernel does not tell: other threads create files meanwhile."""
    with suppress(OSError):
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _limits(resource: ModuleType) -> dict[int, tuple[int, int]]:
    numbers = {number for name, number in vars(resource).items() if name.startswith("RLIMIT_")}
    return {number: resource.getrlimit(number) for number in numbers}


def _set_limits(resource: Any, kept: dict[int, tuple[int, int]]) -> None:
    for number, limits in kept.items():
        if resource.getrlimit(number) != limits:
            resource.setrlimit(number, limits)


def _timer(which: int) -> Setting:
    """Whether an alarm is set: one that was not is taken off, one that was taken off is set again with what it had left."""
    left = signal.getitimer(which)
    return Setting.of(
        "timer",
        lambda: signal.getitimer(which)[0] > 0.0,
        lambda was_set: signal.setitimer(which, *(left if was_set else (0.0, 0.0))),
    )
