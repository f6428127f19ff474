"""What a forward can change outside torch: working directory, environment, import path, handlers, limits, printing."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from nnlint.capture.torch_private import print_options
from nnlint.guard.interpreter import interpreter_settings
from nnlint.guard.process import Setting, attribute
from nnlint.guard.system import system_settings

_SMALLEST = sys.float_info.min


def surroundings() -> tuple[Setting, ...]:
    """The process's own settings, read now; those of numpy where it is imported."""
    return (*_found(), *interpreter_settings(), *system_settings())


def _found() -> Iterator[Setting]:
    yield Setting.of("working directory", _directory, _set_directory)
    yield Setting.of("environment", lambda: dict(os.environ), _set_environment)
    if threading.current_thread() is threading.main_thread():  # no other may set a handler
        yield Setting.of("signal handlers", _handlers, _set_handlers)
    yield Setting.of("import path", lambda: (sys.path, list(sys.path)), _set_path)
    yield attribute(tempfile, "tempdir")
    yield Setting.of("logging", lambda: logging.root.manager.disable, logging.disable)
    yield Setting.of("switch interval", sys.getswitchinterval, sys.setswitchinterval)
    yield Setting.of("garbage thresholds", gc.get_threshold, lambda kept: gc.set_threshold(*kept))
    yield Setting.of("recursion limit", sys.getrecursionlimit, sys.setrecursionlimit)
    yield Setting.of("garbage collection", gc.isenabled, lambda enabled: gc.enable() if enabled else gc.disable())
    yield Setting.of("flush denormal", _flushes, torch.set_flush_denormal)
    yield Setting.of("print options", lambda: dict(print_options()), lambda values: print_options().update(values))
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        yield Setting.of("numpy's errors", numpy.geterr, lambda state: numpy.seterr(**state))
        yield Setting.of("numpy's call of errors", numpy.geterrcall, numpy.seterrcall)
        yield Setting.of("numpy's buffer", numpy.getbufsize, numpy.setbufsize)
        yield Setting.of("numpy's print options", numpy.get_printoptions, lambda kept: numpy.set_printoptions(**kept))


def _directory() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:  # it was removed
        return None


def _set_directory(path: str | None) -> None:
    if path is not None:
        os.chdir(path)


def _set_path(kept: tuple[list[str], list[str]]) -> None:
    """The same list object again, with the entries it had: others hold it too."""
    sys.path, entries = kept
    sys.path[:] = entries


def _set_environment(variables: dict[str, str]) -> None:
    for name in set(os.environ) - set(variables):
        del os.environ[name]
    for name, value in variables.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
    if hasattr(time, "tzset"):
        time.tzset()  # the time zone is read from the environment once


def _handlers() -> dict[int, Any]:
    return {int(number): signal.getsignal(number) for number in signal.valid_signals()}


def _set_handlers(handlers: dict[int, Any]) -> None:
    for number, handler in _handlers().items():
        before = handlers.get(number)
        if before is not handler and before is not None:  # None: set by code in C, which Python cannot set again
            signal.signal(number, before)


def _flushes() -> bool:
    """Whether numbers too small for full precision count as zero: torch can set it, but not tell."""
    return _SMALLEST * 0.5 == 0.0
