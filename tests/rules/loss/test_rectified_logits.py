"""LOS017: activations between the last layer and the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.finding import Level
from nnlint.testing import findings, mlp_setup

CODE = "LOS017"
MULTI_HOT = (torch.rand(40, 5, generator=torch.Generator().manual_seed(0)) > 0.5).float()


@pytest.mark.parametrize(
    ("head", "level"),
    [
        (F.relu, Level.ERROR),
        (nn.ReLU6(), Level.ERROR),
        (lambda z: z.relu_(), Level.ERROR),
        (lambda z: F.dropout(F.relu(z), 0.1), Level.ERROR),
        (F.gelu, Level.ERROR),
        (F.softplus, Level.ERROR),
        (torch.tanh, Level.WARNING),
        (F.elu, Level.INFO),
        (F.leaky_relu, Level.INFO),
    ],
)
def test_levels(head: Callable[..., Any], level: Level) -> None:
    (found,) = findings(CODE, mlp_setup(head, nn.CrossEntropyLoss()))
    assert found.level is level


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (lambda o, t: F.nll_loss(F.log_softmax(o, 1), t), None),
        (nn.BCEWithLogitsLoss(), MULTI_HOT),
        (nn.MultiLabelSoftMarginLoss(), MULTI_HOT),
    ],
)
def test_every_loss_on_logits(loss: Callable[..., Any], targets: torch.Tensor | None) -> None:
    assert findings(CODE, mlp_setup(F.relu, loss, targets))


@pytest.mark.parametrize(
    ("head", "loss", "targets"),
    [
        (None, nn.CrossEntropyLoss(), None),
        (F.relu, nn.MSELoss(), torch.rand(40, 5)),
        (lambda z: z + F.relu(z), nn.CrossEntropyLoss(), None),
        (lambda z: 10 * torch.tanh(z), nn.CrossEntropyLoss(), None),  # clipped scores of a pointer network
    ],
)
def test_silent(head: Callable[..., Any] | None, loss: Callable[..., Any], targets: torch.Tensor | None) -> None:
    assert not findings(CODE, mlp_setup(head, loss, targets))


def test_relu_then_global_pooling_is_info() -> None:
    """SqueezeNet's head."""
    torch.manual_seed(0)
    head = nn.Sequential(nn.Conv2d(8, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), *head)
    case = {
        "model": model,
        "inputs": torch.randn(8, 3, 10, 10),
        "targets": torch.arange(8) % 5,
        "loss": nn.CrossEntropyLoss(),
    }
    (found,) = findings(CODE, case)
    assert found.level is Level.INFO
    assert found.module == "3"
