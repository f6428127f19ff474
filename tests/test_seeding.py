"""Seeding python, numpy and torch, and leaving no mark."""

from __future__ import annotations

import random

import numpy
import pytest
import torch
from torch import nn

import nnlint
from nnlint.seeding import RandomStates, draws, seed_everything, seeded


def states() -> tuple[object, ...]:
    return random.getstate(), str(numpy.random.get_state()), torch.get_rng_state().tolist()


def queue() -> list[object]:
    """The seedings that wait for CUDA; only what each of them would call tells two apart."""
    tracker = torch.cuda._lazy_seed_tracker
    return [call[0] for call in tracker.get_calls() if call]


def test_seeded_repeats_and_leaves_the_generators_alone() -> None:
    before = states()
    drawn = []
    for _ in range(2):
        with seeded(7):
            drawn.append((random.random(), float(numpy.random.rand()), float(torch.rand(()))))
    assert drawn[0] == drawn[1]
    assert states() == before


@pytest.mark.skipif(torch.cuda.is_initialized(), reason="CUDA takes its seedings at once")
@pytest.mark.parametrize("inside", [lambda: None, lambda: torch.manual_seed(3), lambda: torch.cuda.manual_seed(4)])
def test_no_seeding_of_cuda_stays_queued(inside) -> None:
    """Neither ours nor one of the code that runs inside."""
    torch.manual_seed(1)
    before = queue()
    with seeded(7):
        inside()
    assert queue() == before


@pytest.mark.skipif(torch.cuda.is_initialized(), reason="CUDA takes its seedings at once")
def test_a_check_leaves_no_seeding_queued() -> None:
    class Seeds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            torch.manual_seed(5)
            return self.fc(x)

    torch.manual_seed(1)
    before = queue()
    nnlint.check({"model": Seeds(), "inputs": torch.randn(4, 4)}, select=["SIG"])
    assert queue() == before


def test_the_generators_are_put_back_after_an_exception() -> None:
    before = states()

    def fails() -> None:
        with seeded(3):
            torch.rand(2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert states() == before


def test_states_can_be_restored_again() -> None:
    kept = RandomStates()
    first = torch.rand(())
    kept.restore()
    assert torch.equal(torch.rand(()), first)
    kept.restore()
    assert torch.equal(torch.rand(()), first)


def test_the_same_seed_gives_the_same_numbers() -> None:
    kept = RandomStates()
    seed_everything(11)
    first = random.random(), float(torch.rand(()))
    seed_everything(11)
    assert (random.random(), float(torch.rand(()))) == first
    kept.restore()


@pytest.mark.parametrize(
    ("run", "expected"), [(lambda: 1, False), (random.random, True), (lambda: torch.rand(1), True)]
)
def test_draws(run, expected: bool) -> None:
    kept = RandomStates()
    assert draws(run, seed=0)[0] is expected
    kept.restore()
