"""LOS007: softmax over a dimension of size 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.finding import Level
from nnlint.testing import findings, mlp_setup

CODE = "LOS007"
TARGETS = torch.randint(0, 2, (40, 1), generator=torch.Generator().manual_seed(0)).float()


@pytest.mark.parametrize(
    "head",
    [
        nn.Softmax(dim=1),
        lambda z: F.softmax(z, dim=-1),
        lambda z: F.log_softmax(z, 1).exp(),
        lambda z: F.relu(z).softmax(1),
    ],
)
def test_a_single_unit_is_an_error(head: Callable[..., Any]) -> None:
    (found,) = findings(CODE, mlp_setup(head, nn.BCELoss(), TARGETS, outputs=1))
    assert found.level is Level.ERROR


def test_two_units_are_silent() -> None:
    assert not findings(CODE, mlp_setup(nn.Softmax(dim=1), nn.BCELoss(), torch.rand(40, 2), outputs=2))


class Pooling(nn.Module):
    """Attention pooling: one score for each instance, softmax over the instances."""

    def __init__(self) -> None:
        super().__init__()
        self.score, self.head = nn.Linear(12, 1), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = self.score(x).softmax(dim=1)
        return self.head((weights * x).sum(1))


@pytest.mark.parametrize(("instances", "levels"), [(7, []), (1, [Level.INFO])])
def test_attention_over_instances(instances: int, levels: list[Level]) -> None:
    torch.manual_seed(0)
    case = {
        "model": Pooling(),
        "inputs": torch.randn(8, instances, 12),
        "targets": torch.arange(8) % 5,
        "loss": F.cross_entropy,
    }
    assert [found.level for found in findings(CODE, case)] == levels


class OneToken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 2, batch_first=True)
        self.head = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = (x @ x.transpose(1, 2)).softmax(-1)
        return self.head(self.attention(scores @ x, x, x)[0].mean(1))


def test_a_sequence_of_one_token_is_info() -> None:
    torch.manual_seed(0)
    case = {
        "model": OneToken(),
        "inputs": torch.randn(8, 1, 12),
        "targets": torch.arange(8) % 5,
        "loss": F.cross_entropy,
    }
    assert all(found.level is Level.INFO for found in findings(CODE, case))
