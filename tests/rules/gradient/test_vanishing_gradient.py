"""GRD001 vanishing-gradient: the gradient with respect to the activations decays geometrically toward the input."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.rules.gradient.flow import LABELS, NOISE, Stack, codes, he


class Residual(nn.Module):
    def __init__(self, branch, factor=1.0):
        super().__init__()
        self.branch = branch
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x):
        return x + self.factor * self.branch(x)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Stack(lambda: nn.Sequential(nn.ReLU(), nn.Linear(32, 32)), 20), ["GRD001"]),
        (Stack(lambda: nn.Sequential(nn.Sigmoid(), nn.Linear(32, 32)), 8), ["GRD001"]),
        (Stack(he, 20), []),
        (Stack(lambda: nn.Sequential(nn.ReLU(), nn.Linear(32, 32)), 5), []),
        (Stack(lambda: nn.Sequential(nn.ReLU(), nn.Linear(32, 32), nn.LayerNorm(32)), 20), []),
        (Stack(lambda: Residual(he(), 0.0), 20), []),
        (Stack(lambda: Residual(he(), 1e-6), 20), []),
        (Stack(lambda: nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU()), 70), ["GRD002"]),
        (Stack(lambda: nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU()), 12), []),
    ],
    ids=[
        "default 20",
        "sigmoid 8",
        "he 20",
        "default 5",
        "layer norm",
        "zero branch",
        "layer scale",
        "batch norm 70",
        "batch norm 12",
    ],
)
def test_depth(model, expected) -> None:
    assert codes(model, NOISE, LABELS, nn.CrossEntropyLoss()) == expected


def test_without_a_loss_the_outputs_are_projected() -> None:
    assert codes(Stack(lambda: nn.Sequential(nn.ReLU(), nn.Linear(32, 32)), 20), NOISE) == ["GRD001"]
