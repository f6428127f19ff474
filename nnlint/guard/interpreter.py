"""What the interpreter and its library keep for the whole process: traces, contexts, loggers, policies, lists of callbacks."""

from __future__ import annotations

import contextvars
import faulthandler
import gc
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from nnlint.guard.process import Setting, attribute
from nnlint.guard.reach import ContainerState

_NOTHING = object()
_OF_SYS = ("argv", "stdin", "displayhook", "excepthook", "unraisablehook", "breakpointhook", "dont_write_bytecode")
_OF_LOGGING = ("lastResort", "raiseExceptions", "_loggerClass", "_logRecordFactory")
#: Module -> names in it, which hold a choice for the process; only of modules that are loaded.
_CHOICES = {
    "asyncio.events": ("_event_loop_policy",),
    "multiprocessing.context": ("_default_context._actual_context",),
    "torch.multiprocessing": ("_sharing_strategy",),
    "torch.distributions.distribution": ("Distribution._validate_args",),
}


def interpreter_settings() -> Iterator[Setting]:
    """The settings, read now."""
    yield from (attribute(sys, name) for name in _OF_SYS)
    yield from (attribute(warnings, name) for name in ("showwarning", "formatwarning"))
    yield from (attribute(logging, name) for name in _OF_LOGGING)
    yield attribute(threading, "excepthook")
    yield Setting.of("trace function", sys.gettrace, sys.settrace)
    yield Setting.of("profile function", sys.getprofile, sys.setprofile)
    yield Setting.of("trace function of threads", _hook_of_threads("trace"), threading.settrace)
    yield Setting.of("profile function of threads", _hook_of_threads("profile"), threading.setprofile)
    yield Setting.of("debugging of garbage", gc.get_debug, gc.set_debug)
    if hasattr(sys, "get_int_max_str_digits"):
        yield Setting.of("digits of integers", sys.get_int_max_str_digits, sys.set_int_max_str_digits)
    if not faulthandler.is_enabled():  # where it is, its file cannot be asked for
        yield Setting.of("fault handler", faulthandler.is_enabled, lambda _: faulthandler.disable())
    yield from _of_loaded_modules()


def _hook_of_threads(kind: str) -> Any:
    return getattr(threading, f"get{kind}", lambda: None)


def _of_loaded_modules() -> Iterator[Setting]:
    socket: Any = sys.modules.get("socket")
    if socket is not None:
        yield Setting.of("time limit of sockets", socket.getdefaulttimeout, socket.setdefaulttimeout)
    for module, names in _CHOICES.items():
        for name in names:
            owner: Any = sys.modules.get(module)
            *way, last = name.split(".")
            for step in way:
                owner = getattr(owner, step, None)
            if owner is not None and hasattr(owner, last):
                yield attribute(owner, last)


def interpreter_states() -> Iterator[Any]:
    """What is put back in place, because others hold the same object: each has `restore`."""
    yield from (ContainerState(held) for held in (gc.callbacks, sys.meta_path, sys.path_hooks))
    yield Loggers()
    yield Contexts()
    if "decimal" in sys.modules:
        yield Decimals(sys.modules["decimal"])


class Loggers:
    """Level, handlers, filters and switches of every logger."""

    def __init__(self) -> None:
        root = logging.getLogger()
        named = (found for found in root.manager.loggerDict.values() if isinstance(found, logging.Logger))
        self._held = [(logger, *_of_logger(logger), ContainerState(logger.handlers)) for logger in (root, *named)]

    def restore(self) -> None:
        """Set what is other than it was."""
        for logger, level, propagate, disabled, filters, handlers in self._held:
            if logger.level != level:
                logger.setLevel(level)  # clears the caches of what is enabled
            if logger.propagate != propagate or logger.disabled != disabled:
                logger.propagate, logger.disabled = propagate, disabled
            if logger.filters != filters:
                logger.filters[:] = filters
            handlers.restore()


def _of_logger(logger: logging.Logger) -> tuple[int, bool, bool, list[Any]]:
    return logger.level, logger.propagate, logger.disabled, list(logger.filters)


class Contexts:
    """The context variables that are set. One that a forward sets first cannot be unset again."""

    def __init__(self) -> None:
        self._held = contextvars.copy_context()

    def restore(self) -> None:
        """Set those that hold another value."""
        for variable, value in self._held.items():
            if variable.get(_NOTHING) is not value:
                variable.set(value)


class Decimals:
    """The precision, rounding, traps and flags of the decimal context."""

    def __init__(self, decimal: ModuleType) -> None:
        self._context: Any = decimal.getcontext()
        self._held = repr(self._context), self._context.copy()
        self._set = decimal.setcontext
        self._current = decimal.getcontext

    def restore(self) -> None:
        """The same context object, with the numbers it had."""
        shown, kept = self._held
        if repr(self._context) != shown:
            for name in ("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "traps", "flags"):
                setattr(self._context, name, getattr(kept, name))
        if self._current() is not self._context:
            self._set(self._context)
