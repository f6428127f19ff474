"""What a forward changes outside the attributes of modules is as before: classes, closures of methods, slots, arrays, the process."""

from __future__ import annotations

import dataclasses
import gc
import logging
import random
import sys
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nnlint import check
from nnlint.guard.state_guard import StateGuard

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
    ],
)
def test_the_process(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path)  # puts back what a failure would leave to other tests
    before = process()
    check({"model": Net(change), "inputs": torch.randn(2, 4)}, select=("ARC001",))
    assert process() == before
