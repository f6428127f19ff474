"""LOS036 dominant-loss-term: one term of the loss pulls over a thousand times as hard as another."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nnlint
from nnlint.testing import findings
from tests.rules.loss.loss_terms import BATCH, tasks


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


def test_terms_leave_gradients_and_parameters_alone() -> None:
    case = tasks(lambda out, batch: F.cross_entropy(out[0], batch[0]) + F.mse_loss(out[1], batch[1]))
    before = [p.clone() for p in case["model"].parameters()]
    nnlint.check(case, select=["LOS036", "LOS035"])
    assert all(torch.equal(p, old) and p.grad is None for p, old in zip(case["model"].parameters(), before, strict=True))


def _taught(loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> dict[str, object]:
    """A student, and its exact copy as a teacher: their answers agree at the start."""
    torch.manual_seed(0)
    student = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 4))
    teacher = copy.deepcopy(student).requires_grad_(False)
    x = torch.randn(64, 12)
    noisy = x + 1e-3 * torch.randn(64, 12)
    criterion = lambda out, y: F.cross_entropy(out, y) + loss(out, teacher(noisy))  # noqa: E731
    return {"model": student, "inputs": x, "targets": torch.arange(64) % 4, "loss": criterion}


@pytest.mark.parametrize(
    "loss",
    [
        lambda out, answer: F.mse_loss(out.softmax(1), answer.softmax(1)),
        lambda out, answer: F.kl_div(F.log_softmax(out / 2, 1), F.softmax(answer / 2, 1), reduction="batchmean"),
        lambda out, answer: ((out - answer) ** 2).mean(),
    ],
)
def test_a_term_that_begins_at_its_goal_is_left_alone(loss) -> None:
    assert not findings("LOS036", _taught(loss))
