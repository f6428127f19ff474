"""LOS027: logarithms of probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.finding import Level
from nnlint.testing import findings, mlp_setup

CODE = "LOS027"


@pytest.mark.parametrize(
    ("head", "level"),
    [
        (lambda z: torch.log(F.softmax(z, 1)), Level.WARNING),
        (lambda z: z.softmax(1).log(), Level.WARNING),
        (lambda z: z.sigmoid().log2(), Level.WARNING),
        (lambda z: torch.log(1 - torch.sigmoid(z)), Level.WARNING),
        (lambda z: torch.log1p(-torch.sigmoid(z)), Level.WARNING),
        (lambda z: z.softmax(1).view(40, 5).log(), Level.WARNING),
        (lambda z: torch.log(F.softmax(z, 1) + 1e-8), Level.INFO),
        (lambda z: z.softmax(1).clamp(min=1e-8).log(), Level.INFO),
        (lambda z: torch.log(torch.sigmoid(z).clamp(1e-6, 1 - 1e-6)), Level.INFO),
    ],
)
def test_levels(head: Callable[..., Any], level: Level) -> None:
    (found,) = findings(CODE, mlp_setup(head, nn.MSELoss(), torch.randn(40, 5)))
    assert found.level is level


@pytest.mark.parametrize(
    "head",
    [
        nn.LogSoftmax(dim=1),
        nn.LogSigmoid(),
        lambda z: torch.log(z.exp() + 1),
        lambda z: torch.log1p(torch.sigmoid(z)),
        lambda z: torch.log(F.softplus(z)),
        lambda z: torch.log((z.softmax(1) * z.softmax(1)).sum(1, keepdim=True)).expand(40, 5),
    ],
)
def test_silent(head: Callable[..., Any]) -> None:
    assert not findings(CODE, mlp_setup(head, nn.MSELoss(), torch.randn(40, 5)))
