"""LOS032, LOS035, LOS036: the terms of a loss and the targets it compares with."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nnlint
from nnlint.testing import findings, mlp_setup

BATCH = (torch.arange(40) % 5, torch.randn(40, generator=torch.Generator().manual_seed(0)))


class Tasks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.classes, self.number = nn.Linear(12, 32), nn.Linear(32, 5), nn.Linear(32, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.relu(self.body(x))
        return self.classes(hidden), self.number(hidden)[:, 0]


def tasks(loss: Any, batch: Any = BATCH) -> dict[str, Any]:
    return {"model": Tasks(), "inputs": torch.randn(40, 12), "targets": batch, "loss": loss}


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


def test_a_dominant_term_is_measured_on_what_both_train() -> None:
    loss = lambda out, batch: F.cross_entropy(out[0], batch[0]) + F.mse_loss(out[1], batch[1])  # noqa: E731
    assert not findings("LOS036", tasks(loss))
    (found,) = findings("LOS036", tasks(loss, (BATCH[0], 1e4 + BATCH[1])))
    assert found.evidence["ratio"] > 1000
    small = lambda out, batch: 0.01 * F.cross_entropy(out[0], batch[0]) + F.mse_loss(out[1], batch[1])  # noqa: E731
    assert not findings("LOS036", tasks(small, (BATCH[0], 1e4 + BATCH[1])))


def test_a_sum_beside_a_mean_is_named() -> None:
    loss = lambda out, batch: F.cross_entropy(out[0], batch[0]) + ((out[1] - batch[1]) ** 2).sum()  # noqa: E731
    (found,) = findings("LOS036", tasks(loss, (BATCH[0], 1e3 * BATCH[1])))
    assert "alike" in found.fix


def test_a_target_under_no_grad_carries_nothing() -> None:
    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3))
    following = torch.randn(40, 12)

    def loss(values: torch.Tensor, reward: torch.Tensor, *, keep: bool) -> torch.Tensor:
        with torch.set_grad_enabled(keep):
            wanted = reward + 0.9 * model(following).max(1).values
        return F.mse_loss(values[:, 0], wanted)

    case = {"model": model, "inputs": torch.randn(40, 12), "targets": BATCH[1]}
    assert not findings("LOS032", {**case, "loss": lambda v, r: loss(v, r, keep=False)})
    (found,) = findings("LOS032", {**case, "loss": lambda v, r: loss(v, r, keep=True)})
    assert found.evidence["norm_through_target"] > 0
    assert "detach" in found.fix
    declared = {**case, "loss": lambda v, r: loss(v, r, keep=True), "declared": ["mutual-learning"]}
    assert not findings("LOS032", declared)


def test_terms_leave_gradients_and_parameters_alone() -> None:
    case = tasks(lambda out, batch: F.cross_entropy(out[0], batch[0]) + F.mse_loss(out[1], batch[1]))
    before = [p.clone() for p in case["model"].parameters()]
    nnlint.check(case, select=["LOS036", "LOS035"])
    assert all(torch.equal(p, old) and p.grad is None for p, old in zip(case["model"].parameters(), before, strict=True))


def test_one_term_costs_no_pass() -> None:
    result = nnlint.check(mlp_setup(None, nn.CrossEntropyLoss()), select=["LOS035"]).results[0]
    assert "loss terms" not in result.timings
