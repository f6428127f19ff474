"""What a forward changes outside the attributes of modules is as before: classes, closures of methods, slots, arrays, the process."""

from __future__ import annotations

import contextvars
import dataclasses
import decimal
import gc
import locale
import logging
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from nnlint import check
from nnlint.capture.torch_private import global_hooks
from nnlint.guard.interpreter import interpreter_settings
from nnlint.guard.process import settings
from nnlint.guard.state_guard import StateGuard
from nnlint.guard.system import system_settings
from tests.guard import belongings_state

Change = Callable[[], object]


class Net(nn.Module):
    def __init__(self, change: Change) -> None:
        super().__init__()
        self.one, self.change = nn.Linear(4, 3), change

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.change()
        out: torch.Tensor = self.one(x)
        return out


def guarded(model: nn.Module) -> None:
    """Run the model under the guard, as a probe does."""
    with StateGuard(model):
        model(torch.randn(2, 4))
        model(torch.randn(2, 4))


def nothing() -> None:
    """What a net changes that changes nothing."""


def test_what_a_method_closes_over() -> None:
    kept, count, numbers, python = [0], 0, np.random.default_rng(1), random.Random(1)

    class Closing(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            nonlocal count
            count += 1
            kept.append(count)
            numbers.random()
            python.random()
            return super().forward(x)

    state = python.getstate(), numbers.bit_generator.state
    guarded(Closing(nothing))
    assert (kept, count) == ([0], 0)
    assert (python.getstate(), numbers.bit_generator.state) == state


def test_attributes_of_the_users_classes() -> None:
    class Shared:
        count = 0

    class Counting(Net):
        calls, masks, running = 0, {1: "one"}, torch.zeros(3)
        shared = Shared()

        @classmethod
        def tick(cls) -> None:
            cls.calls += 1
            cls.fresh = 1  # type: ignore[attr-defined]
            cls.running += 1

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.tick()
            self.masks[len(x)] = "more"
            type(self.shared).count += 1
            return super().forward(x)

    guarded(Counting(nothing))
    assert (Counting.calls, Counting.masks, Counting.running.tolist()) == (0, {1: "one"}, [0, 0, 0])
    assert not hasattr(Counting, "fresh")
    assert Shared.count == 0


def test_slots_arrays_generators_and_the_order_of_a_dict() -> None:
    @dataclasses.dataclass(frozen=True)
    class Memory:
        __slots__ = ("items", "step")
        step: int
        items: list[int]

    memory, mean, drawn = Memory(0, []), np.zeros(3), np.random.RandomState(0)
    order = OrderedDict(a=1, b=2)

    def change() -> None:
        object.__setattr__(memory, "step", memory.step + 1)
        memory.items.append(1)
        mean.__iadd__(1)
        drawn.rand()
        order.move_to_end("a")

    before = str(drawn.get_state())
    guarded(Net(change))
    assert (memory.step, memory.items, mean.tolist(), list(order)) == (0, [], [0, 0, 0], ["a", "b"])
    assert str(drawn.get_state()) == before


def untraced(*_event: object) -> None:
    """A trace function that wants to hear of nothing more."""


VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")
VARIABLE.set("mine")
LOGGER = logging.getLogger("tests.guard.belongings")


class Quiet(logging.Logger):
    """A logger class of the user's."""


def process() -> dict[str, Any]:
    """What belongs to the process, in comparable form."""
    root = logging.getLogger()
    return {
        "path": (id(sys.path), list(sys.path)),
        "hooks": (sys.argv, sys.displayhook, sys.excepthook, sys.unraisablehook, threading.excepthook),
        "logging": (root.manager.disable, root.level, list(root.handlers)),
        "limits": (sys.getswitchinterval(), gc.get_threshold(), tempfile.tempdir),
        "zone": time.tzname,
        "stderr": sys.stderr,
        "system": [setting.read() for setting in system_settings() if setting.read is not None],
        "interpreter": [setting.read() for setting in interpreter_settings() if setting.read is not None],
        "torch": [setting.read() for setting in settings() if setting.read is not None],
        "lists": [list(held) for held in (gc.callbacks, sys.meta_path, sys.path_hooks)],
        "hooks of torch": [len(table) for table in global_hooks()],
        "decimal": repr(decimal.getcontext()),
        "context": VARIABLE.get(),
        "loggers": (LOGGER.level, LOGGER.propagate, LOGGER.disabled, list(LOGGER.handlers), list(LOGGER.filters)),
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda: sys.path.insert(0, "/nowhere"),
        lambda: setattr(sys, "path", ["/nowhere", *sys.path]),
        lambda: [setattr(sys, name, print) for name in ("argv", "displayhook", "excepthook", "unraisablehook")],
        lambda: setattr(threading, "excepthook", print),
        lambda: (logging.disable(50), logging.getLogger().setLevel(1), logging.getLogger().addHandler(logging.NullHandler())),
        lambda: (sys.setswitchinterval(0.1), gc.set_threshold(900, 9, 9), setattr(tempfile, "tempdir", "/nowhere")),
        lambda: (__import__("os").environ.update(TZ="Asia/Tokyo"), time.tzset()),
        lambda: setattr(sys, "stderr", sys.stdout),
        lambda: (os.umask(0o077), locale.setlocale(locale.LC_ALL, "C"), threading.stack_size(1 << 20)),
        lambda: signal.setitimer(signal.ITIMER_VIRTUAL, 1e6),
        lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]),
        lambda: hasattr(os, "sched_setaffinity") and os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
        lambda: (gc.callbacks.append(print), sys.meta_path.append(None), sys.path_hooks.append(print)),
        lambda: (setattr(decimal.getcontext(), "prec", 7), VARIABLE.set("other"), setattr(warnings, "showwarning", print)),
        lambda: (decimal.setcontext(decimal.Context(prec=3)), logging.setLoggerClass(Quiet), sys.set_int_max_str_digits(9000)),
        lambda: (LOGGER.setLevel(50), LOGGER.addHandler(logging.NullHandler()), setattr(LOGGER, "propagate", False)),
        lambda: (sys.settrace(untraced), threading.setprofile(untraced), socket.setdefaulttimeout(3.0)),
        lambda: (torch.set_warn_always(True), torch.autograd.set_multithreading_enabled(False)),
        lambda: register_optimizer_step_pre_hook(nothing),
    ],
)
def test_the_process(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path)  # puts back what a failure would leave to other tests
    before = process()
    check({"model": Net(change), "inputs": torch.randn(2, 4)}, select=("ARC001",))
    assert process() == before


COUNT = 0
HISTORY: list[int] = []
TABLE = {"steps": [0]}
MEAN = np.zeros(2)


class Meter:
    """Counts for whoever has it."""

    def __init__(self) -> None:
        self.total = 0

    def update(self) -> None:
        self.total += 1


METER = Meter()


def count_on() -> None:
    global COUNT, FRESH  # noqa: PLW0603 - what is tested
    COUNT += 1
    FRESH = COUNT
    HISTORY.extend(COUNT for _ in range(2))


def test_variables_of_the_users_modules() -> None:
    def change() -> None:
        count_on()
        TABLE["steps"].append(1)
        TABLE["more"] = []
        MEAN.__iadd__(1)
        METER.update()
        belongings_state.step += 1
        belongings_state.seen = True

    guarded(Net(change))
    assert (COUNT, HISTORY, TABLE, MEAN.tolist(), METER.total) == (0, [], {"steps": [0]}, [0, 0], 0)
    assert "FRESH" not in globals()
    assert (belongings_state.step, hasattr(belongings_state, "seen")) == (0, False)
