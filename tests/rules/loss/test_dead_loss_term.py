"""LOS035 dead-loss-term: A term of the loss that no trained parameter gets a gradient from."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nnlint
from nnlint.testing import findings, mlp_setup
from tests.rules.loss.loss_terms import tasks


@pytest.mark.parametrize(
    "add",
    [
        lambda one, other: one + other,
        lambda one, other: torch.stack([one, other]).sum(),
        lambda one, other: 2 * (one + 0.5 * other),
        lambda one, other: sum([one, other]),
        lambda one, other: one - (-other),
        lambda one, other: torch.stack([one, other]).mean() / 2,
    ],
)
def test_terms_are_found_however_they_are_added(add: Any) -> None:
    def loss(out: Any, batch: Any) -> torch.Tensor:
        return add(F.cross_entropy(out[0].detach(), batch[0]), F.mse_loss(out[1], batch[1]))

    (found,) = findings("LOS035", tasks(loss))
    assert "detached" in found.message
    assert found.location is not None


def test_a_term_that_is_added_in_place() -> None:
    def loss(out: Any, batch: Any) -> torch.Tensor:
        total = F.mse_loss(out[1], batch[1])
        total += F.cross_entropy(out[0].detach(), batch[0])
        return total

    (found,) = findings("LOS035", tasks(loss))
    assert "cross_entropy" in found.message


def test_a_term_at_its_lowest_is_not_dead() -> None:
    loss = lambda out, batch: F.mse_loss(out[1], batch[1]) + F.mse_loss(out[0], out[0].detach())  # noqa: E731
    assert not findings("LOS035", tasks(loss))


def test_a_weight_of_zero_is_info_and_a_loss_of_zero_an_error() -> None:
    weighed = lambda out, batch: F.mse_loss(out[1], batch[1]) + 0.0 * F.cross_entropy(out[0], batch[0])  # noqa: E731
    assert [found.level.value for found in findings("LOS035", tasks(weighed))] == ["info"]
    nothing = lambda out, batch: F.softplus(0.0 * out[1]).mean()  # noqa: E731
    assert [found.level.value for found in findings("LOS035", tasks(nothing))] == ["error"]


def test_one_term_costs_no_pass() -> None:
    result = nnlint.check(mlp_setup(None, nn.CrossEntropyLoss()), select=["LOS035"]).results[0]
    assert "loss terms" not in result.timings
