"""Loss terms are measured in a second run, which has to make the operations of the first."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import nnlint

CLASSES, NUMBERS = torch.arange(40) % 5, torch.randn(40, generator=torch.Generator().manual_seed(0))
Output = tuple[torch.Tensor, torch.Tensor]


class Tasks(nn.Module):
    """Two heads on one body."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.classes, self.number = nn.Linear(12, 32), nn.Linear(32, 5), nn.Linear(32, 1)

    def forward(self, x: torch.Tensor) -> Output:
        hidden = torch.relu(self.body(x))
        return self.classes(hidden), self.number(hidden)[:, 0]


def cached_weights() -> Callable[[Output, Any], torch.Tensor]:
    @cache
    def weights(count: int) -> torch.Tensor:
        return torch.linspace(1, 2, count).mul(2).div(3)

    def loss(out: Output, batch: Any) -> torch.Tensor:
        weighted = F.cross_entropy(out[0], batch[0], reduction="none").mul(weights(len(out[0])))
        return weighted.mean() + (out[1] - batch[1]).mul(2).pow(2).mean()

    return loss


@lru_cache(maxsize=4)
def anchors(count: int, scale: float) -> torch.Tensor:
    return torch.arange(count).sub(count / 2).div(count).mul(scale)


def kept_anchors() -> Callable[[Output, Any], torch.Tensor]:
    anchors.cache_clear()

    def loss(out: Output, batch: Any) -> torch.Tensor:
        return F.cross_entropy(out[0], batch[0]) + (out[1].mul(1.0) - batch[1] - anchors(len(out[1]), 0.1)).abs().mean()

    return loss


def other_first_step() -> Callable[[Output, Any], torch.Tensor]:
    steps = itertools.count()

    def loss(out: Output, batch: Any) -> torch.Tensor:
        number = out[1]
        for _ in range(next(steps) % 2):
            number = number.mul(0.5).mul(2.0)
        return F.cross_entropy(out[0], batch[0]).mul(0.5) + (number - batch[1]).pow(2).mean().mul(0.1)

    return loss


def drawn_samples() -> Callable[[Output, Any], torch.Tensor]:
    drawn = itertools.count(2)  # as of secrets.SystemRandom, which no seed reaches

    def loss(out: Output, batch: Any) -> torch.Tensor:
        total = sum((out[1][index] - batch[1][index]).abs() for index in range(next(drawn))) / 30
        return F.cross_entropy(out[0], batch[0]) + total

    return loss


def generated_schedule() -> Callable[[Output, Any], torch.Tensor]:
    def parts() -> Iterator[int]:
        yield from itertools.cycle((1, 3))

    schedule = parts()

    def loss(out: Output, batch: Any) -> torch.Tensor:
        pieces = (out[1] - batch[1]).tensor_split(next(schedule))
        return F.cross_entropy(out[0], batch[0]) + torch.stack([piece.pow(2).sum() for piece in pieces]).sum()

    return loss


@pytest.mark.parametrize("make", [cached_weights, kept_anchors, other_first_step, drawn_samples, generated_schedule])
def test_a_run_that_takes_another_course_is_not_judged(make: Callable[[], Any]) -> None:
    (result,) = nnlint.check(setup(make()), select=["LOS032", "LOS035", "LOS036"]).results
    assert not result.findings
    assert {"the forward or the loss makes other operations when it runs again"} == {said.reason for said in result.skipped}


def noise(out: Output, batch: Any) -> torch.Tensor:
    return F.cross_entropy(out[0], batch[0]) + F.mse_loss(out[1].detach() + torch.randn_like(out[1]), batch[1])


def in_a_loop(out: Output, batch: Any) -> torch.Tensor:
    total = F.mse_loss(out[1], batch[1])
    for weight in (0.1, 0.2, 0.3):
        total = total + weight * F.cross_entropy(out[0].detach(), batch[0])
    return total


def under_no_grad(out: Output, batch: Any) -> torch.Tensor:
    with torch.no_grad():
        number = F.mse_loss(out[1], batch[1])
    return F.cross_entropy(out[0], batch[0]) + number


def of_parts(out: Output, batch: Any) -> torch.Tensor:
    first, second = out[1].detach().chunk(2)
    return F.cross_entropy(out[0], batch[0]) + (first - batch[1][:20]).pow(2).mean() + (second - batch[1][20:]).abs().mean()


@pytest.mark.parametrize("loss", [noise, in_a_loop, under_no_grad, of_parts])
def test_a_run_that_repeats_itself_is_judged(loss: Any) -> None:
    found = nnlint.check(setup(loss), select=["LOS035"]).findings
    assert {finding.code for finding in found} == {"LOS035"}


def setup(loss: Any) -> dict[str, Any]:
    return {"model": Tasks(), "inputs": torch.randn(40, 12), "targets": (CLASSES, NUMBERS), "loss": loss}


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize(
    ("loss", "code"),
    [
        (lambda out, batch: F.cross_entropy(out[0], batch[0]) + ((out[1] - 1e5 * batch[1]) ** 2).mean(), "LOS036"),
        (lambda out, batch: F.cross_entropy(out[0], batch[0]) + 0.5 * (out[1].detach() - batch[1]).pow(2).mean(), "LOS035"),
        (lambda out, batch: F.cross_entropy(out[0], batch[0]) + (out[1] - batch[1]).pow(2).mean(), None),
    ],
)
def test_terms_behind_a_checkpoint_are_judged(loss: Any, code: str | None, *, reentrant: bool) -> None:
    """A reentrant checkpoint refuses `torch.autograd.grad`; the gradients that the caller has stay as they are."""

    class Checkpointed(Tasks):
        def forward(self, x: torch.Tensor) -> Output:
            outputs: Output = checkpoint(super().forward, x.requires_grad_(), use_reentrant=reentrant)
            return outputs

    model = Checkpointed()
    fields = {**setup(loss), "model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.01)}
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.25)
    (result,) = nnlint.check(fields, select=["LOS032", "LOS035", "LOS036"]).results
    assert [item.code for item in result.findings] == ([code] if code else [])
    assert all(bool((parameter.grad == 0.25).all()) for parameter in model.parameters() if parameter.grad is not None)
