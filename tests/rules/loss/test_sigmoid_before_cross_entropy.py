"""LOS002 sigmoid-before-cross-entropy: sigmoid before a multi-class cross-entropy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import findings, mlp_setup
from tests.rules.loss.squashed_heads import MULTI_HOT


@pytest.mark.parametrize(
    "head", [nn.Sigmoid(), torch.sigmoid, lambda z: z.sigmoid(), F.hardsigmoid, lambda z: z.sigmoid_().view(40, 5)]
)
@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), lambda o, t: F.nll_loss(F.log_softmax(o, 1), t)])
def test_sigmoid_before_cross_entropy(head: Callable[..., Any], loss: Callable[..., Any]) -> None:
    assert findings("LOS002", mlp_setup(head, loss))


@pytest.mark.parametrize(
    "head",
    [
        None,
        lambda z: z * torch.sigmoid(z),  # a gate
        F.silu,
        lambda z: 4 * torch.sigmoid(z),  # bounded, but no probability taken for a logit
    ],
)
def test_gates_are_no_sigmoid_heads(head: Callable[..., Any] | None) -> None:
    assert not findings("LOS002", mlp_setup(head, nn.CrossEntropyLoss()))


@pytest.mark.parametrize("loss", [nn.BCELoss(), nn.BCEWithLogitsLoss()])
def test_multi_label_losses_are_none_of_los002(loss: nn.Module) -> None:
    assert not findings("LOS002", mlp_setup(torch.sigmoid, loss, MULTI_HOT))
