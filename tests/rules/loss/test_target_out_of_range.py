"""LOS016: targets against the range of the head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.finding import Level
from nnlint.testing import findings, mlp_setup

CODE = "LOS016"
Y = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
UNIT = torch.rand(40, 5, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("head", "targets"),
    [
        (nn.Sigmoid(), Y),
        (torch.tanh, 3 * Y),
        (F.relu, Y),
        (nn.Softmax(dim=1), Y),
        (lambda z: z.clamp(-0.5, 0.5), Y),
        (nn.Hardtanh(-0.5, 0.5), Y),
        (F.softplus, Y),
        (lambda z: 2 * torch.sigmoid(z) + 1, UNIT),
        (lambda z: torch.sigmoid(z).view(40, 5) * 0.5, UNIT),
        (lambda z: F.dropout(torch.relu(z), 0.1), Y),
    ],
)
@pytest.mark.parametrize("loss", [nn.MSELoss(), F.l1_loss])
def test_out_of_reach(head: Callable[..., Any], targets: torch.Tensor, loss: Callable[..., Any]) -> None:
    (found,) = findings(CODE, mlp_setup(head, loss, targets))
    assert found.level is Level.ERROR
    assert found.evidence["share_outside"] > 0.05


@pytest.mark.parametrize(
    ("head", "targets"),
    [
        (None, 100 * Y),
        (nn.Sigmoid(), UNIT),
        (nn.Sigmoid(), UNIT * 1.01),  # what bicubic interpolation overshoots
        (torch.tanh, UNIT),
        (F.relu, UNIT),
        (lambda z: 10 * torch.sigmoid(z) - 5, Y),
        (lambda z: torch.tanh(z) + z, Y),
        (F.gelu, UNIT),
        (F.leaky_relu, Y),
        (F.elu, UNIT),
    ],
)
def test_within_reach_is_silent(head: Callable[..., Any] | None, targets: torch.Tensor) -> None:
    assert not findings(CODE, mlp_setup(head, nn.MSELoss(), targets))


def test_a_few_outliers_are_a_warning() -> None:
    targets = UNIT.clone()
    targets[:3, 0] = 4.0
    (found,) = findings(CODE, mlp_setup(nn.Sigmoid(), nn.MSELoss(), targets))
    assert found.level is Level.WARNING


@pytest.mark.parametrize(
    ("targets", "wrong"), [(torch.ones(40, 5), False), (2.0 * (Y > 0) - 1, True), (255.0 * (Y > 0), True)]
)
def test_labels_of_binary_losses(targets: torch.Tensor, wrong: bool) -> None:
    assert bool(findings(CODE, mlp_setup(None, nn.BCEWithLogitsLoss(), targets))) is wrong


def test_classification_is_none_of_its_business() -> None:
    assert not findings(CODE, mlp_setup(F.relu, F.cross_entropy))
