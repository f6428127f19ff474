"""LOS005 sigmoid-before-bce-with-logits: sigmoid before a binary loss that applies sigmoid itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import findings, mlp_setup
from tests.rules.loss.squashed_heads import MULTI_HOT


def focal(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Focal loss on logits, with the sigmoid for its weights beside."""
    probability = torch.sigmoid(output)
    cross_entropy = F.binary_cross_entropy_with_logits(output, targets, reduction="none")
    weight = (1 - (probability * targets + (1 - probability) * (1 - targets))) ** 2
    return (weight * cross_entropy).mean()


LOGIT_LOSSES = [
    nn.BCEWithLogitsLoss(),
    nn.BCEWithLogitsLoss(pos_weight=torch.full((5,), 2.0)),
    nn.MultiLabelSoftMarginLoss(),
    lambda o, t: F.soft_margin_loss(o, 2 * t - 1),
    lambda o, t: -(t * F.logsigmoid(o) + (1 - t) * F.logsigmoid(-o)).mean(),
    focal,
]


@pytest.mark.parametrize("head", [nn.Sigmoid(), lambda z: torch.sigmoid(z).reshape(40, 5), nn.Softmax(dim=1)])
@pytest.mark.parametrize("loss", LOGIT_LOSSES)
def test_sigmoid_before_a_loss_on_logits(head: Callable[..., Any], loss: Callable[..., Any]) -> None:
    assert findings("LOS005", mlp_setup(head, loss, MULTI_HOT))


@pytest.mark.parametrize("loss", LOGIT_LOSSES)
def test_logits_are_silent(loss: Callable[..., Any]) -> None:
    assert not findings("LOS005", mlp_setup(None, loss, MULTI_HOT))


def test_sigmoid_for_a_metric_is_silent() -> None:
    def loss(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        assert ((torch.sigmoid(output) > 0.5).float() == targets).float().mean() <= 1
        return F.binary_cross_entropy_with_logits(output, targets)

    assert not findings("LOS005", mlp_setup(None, loss, MULTI_HOT))


@pytest.mark.parametrize(
    ("code", "head", "loss"),
    [("LOS002", torch.sigmoid, F.cross_entropy), ("LOS005", torch.sigmoid, F.binary_cross_entropy_with_logits)],
)
def test_found_by_a_static_check(code: str, head: Callable[..., Any], loss: Callable[..., Any]) -> None:
    targets = MULTI_HOT if code == "LOS005" else None
    assert findings(code, mlp_setup(head, loss, targets), static=True)
