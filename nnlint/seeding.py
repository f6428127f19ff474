"""Random numbers: seeding python, numpy and torch, and putting their generators back as they were."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from nnlint.capture.torch_private import queued_cuda_seedings

T = TypeVar("T")


class RandomStates:
    """The states of the global generators of python, numpy (where imported) and torch, from when it was made.

    Torch's are the CPU's, CUDA's once it is initialized, and the seedings that wait for CUDA until then.
    """

    def __init__(self) -> None:
        numpy = sys.modules.get("numpy")
        self._restorers: list[Callable[[], object]] = [
            _putting_back(random.setstate, random.getstate()),
            _putting_back(torch.set_rng_state, torch.get_rng_state()),
            queued_cuda_seedings(),
        ]
        if numpy is not None:
            self._restorers.append(_putting_back(numpy.random.set_state, numpy.random.get_state()))
        if torch.cuda.is_initialized():
            self._restorers.append(_putting_back(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))

    def restore(self) -> None:
        """Put all of them back."""
        for restorer in self._restorers:
            restorer()


def _putting_back(write: Callable[[Any], object], state: Any) -> Callable[[], object]:
    return lambda: write(state)


def seed_everything(seed: int) -> None:
    """Seed python, numpy (where imported) and torch.

    `torch.manual_seed` would queue a seeding of CUDA for the day it is initialized, and so outlive the check.
    """
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block from a known seed; the generators continue afterwards as if it had not run."""
    states = RandomStates()
    seed_everything(seed)
    try:
        yield
    finally:
        states.restore()


def draws(run: Callable[[], T], *, seed: int) -> tuple[bool, T]:
    """Whether a run that begins with `seed_everything(seed)` draws random numbers of python or torch, and its result."""
    seed_everything(seed)
    python, torch_states = random.getstate(), _torch_states()
    result = run()
    drawn = _torch_states()
    same = len(drawn) == len(torch_states) and all(map(torch.equal, torch_states, drawn))
    return not same or random.getstate() != python, result


def _torch_states() -> list[torch.Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [])]
