"""Lets a script run on, unobserved and with short epochs, from a training that was seen to the next one."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from nnlint.observation.course import ObservationEnded
from nnlint.observation.patches import Patches
from nnlint.observation.saving import Keeper
from nnlint.observation.torch_private import LOADER_ITERATOR

#: Batches of a pass that the script gets.
_BATCHES = 1
#: Where the next training has not begun after these, there is none to be seen. Counts, no times: a slow machine sees the same.
#: No calibration: what lies between two trainings is an evaluation, a prediction of the whole data, a file to be written.
_MOST_STEPS = 200
_MOST_PASSES = 100
_MOST_CALLS = 2_000


class Passing:
    """Ends each pass over a loader after its first batch until the script makes another optimizer, or steps another one.

    Args:
        seen: the optimizers of the trainings that were observed.
        on_next: called once, when the next training begins.
    """

    def __init__(self, seen: list[torch.optim.Optimizer], on_next: Callable[[], None]) -> None:
        self._seen = seen
        self._on_next = on_next
        self._patches = Patches()
        self._keeper = Keeper()
        self._batches: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._steps = self._passes = self._calls = self._depth = 0
        #: Why the script was not let run on any longer.
        self.given_up: str | None = None
        self._here = threading.get_ident(), os.getpid()

    def start(self) -> None:
        """Put the hooks in place."""
        self._patches.replace(LOADER_ITERATOR, "__next__", self._next)
        self._patches.replace(torch.nn.Module, "__call__", self._call)
        self._patches.replace(torch.optim.Optimizer, "__init__", self._made)
        self._patches.replace(torch, "save", lambda original: self._keeper.saving(original, lambda _: None, lambda: True))
        self._patches.rebind()
        self._patches.on_undo(register_optimizer_step_post_hook(self._stepped).remove)

    def stop(self) -> None:
        """Take them away; may be called again."""
        self._patches.undo()

    def _next(self, original: Any) -> Any:
        def following(iterator: Any) -> Any:
            if (threading.get_ident(), os.getpid()) != self._here:
                return original(iterator)
            if self._batches.get(iterator, 0) >= _BATCHES:
                self._passes += 1
                self._give_up_after_long()
                raise StopIteration
            batch = original(iterator)
            self._batches[iterator] = self._batches.get(iterator, 0) + 1
            return batch

        return following

    def _call(self, original: Any) -> Any:
        def call(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
            if torch.compiler.is_compiling() or self._depth or (threading.get_ident(), os.getpid()) != self._here:
                return original(module, *args, **kwargs)
            self._calls += 1
            self._give_up_after_long()
            self._depth += 1
            try:
                return original(module, *args, **kwargs)
            finally:
                self._depth -= 1

        return call

    def _made(self, original: Any) -> Any:
        def make(optimizer: Any, *args: Any, **kwargs: Any) -> None:
            if (threading.get_ident(), os.getpid()) == self._here:
                self._goes_on()
                torch.optim.Optimizer.__init__(optimizer, *args, **kwargs)  # as the next observation has it
            else:
                original(optimizer, *args, **kwargs)

        return make

    def _stepped(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if all(optimizer is not known for known in self._seen):
            self._goes_on()
            return
        self._steps += 1
        self._give_up_after_long()

    def _goes_on(self) -> None:
        self.stop()
        self._on_next()

    def _give_up_after_long(self) -> None:
        limits = (
            (self._steps, _MOST_STEPS, "updates"),
            (self._passes, _MOST_PASSES, "passes over loaders"),
            (self._calls, _MOST_CALLS, "calls of models"),
        )
        for count, most, what in limits:
            if count > most:
                self.given_up = f"a later training of the script did not begin within {most} {what}: it was not watched"
                raise ObservationEnded(0)
