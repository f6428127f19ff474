"""GRD001 and GRD002: decay and growth toward the input, told from what only looks like it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnlint


def check(model, inputs, targets=None, loss=None):
    setup = {"model": model, "inputs": inputs}
    if loss is not None:
        setup |= {"loss": loss, "targets": targets}
    report = nnlint.check(setup, select=["GRD001", "GRD002"]).results[0]
    assert report.skipped == []
    return report.findings


def codes(*args, **kwargs):
    return [item.code for item in check(*args, **kwargs)]


class Stack(nn.Module):
    def __init__(self, block, depth, classes=5):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Linear(16, 32)
        self.blocks = nn.ModuleList(block() for _ in range(depth))
        self.head = nn.Linear(32, classes)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def he():
    layer = nn.Linear(32, 32)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return nn.Sequential(nn.ReLU(), layer)


class Residual(nn.Module):
    def __init__(self, branch, factor=1.0):
        super().__init__()
        self.branch = branch
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x):
        return x + self.factor * self.branch(x)


NOISE = torch.randn(32, 16, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(32) % 5


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


def test_zero_head_is_silent() -> None:
    """Every gradient before it is exactly zero until the first step: no decay."""
    model = Stack(he, 6)
    nn.init.zeros_(model.head.weight)
    assert codes(model, NOISE, LABELS, nn.CrossEntropyLoss()) == []


class Unrolled(nn.Module):
    """A recurrent net written out: its gradient fades over the time steps, as that of any RNN at initialization."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.ih, self.hh, self.head = nn.Linear(4, 32), nn.Linear(32, 32), nn.Linear(32, 5)

    def forward(self, x):
        h = torch.zeros(x.shape[0], 32)
        for step in range(x.shape[1]):
            h = torch.tanh(self.ih(x[:, step]) + self.hh(h))
        return self.head(h)


def test_time_steps_of_a_recurrent_net_are_silent() -> None:
    torch.manual_seed(0)
    assert codes(Unrolled(), torch.randn(32, 40, 4), LABELS, nn.CrossEntropyLoss()) == []


def test_pooled_convolutions_are_silent() -> None:
    """Global pooling spreads the gradient over positions: each entry is small, the gradient as a whole is not."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3, padding=1)]
    for _ in range(4):
        layers += [nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, stride=2)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
    assert codes(model, torch.randn(32, 3, 32, 32), LABELS, nn.CrossEntropyLoss()) == []


def test_message_names_both_ends() -> None:
    finding = check(
        Stack(lambda: nn.Sequential(nn.ReLU(), nn.Linear(32, 32)), 20), NOISE, LABELS, nn.CrossEntropyLoss()
    )[0]
    assert finding.module == "stem"
    assert "head (Linear)" in finding.message
    assert finding.evidence["ratio"] < finding.evidence["limit"] == 1e-4
