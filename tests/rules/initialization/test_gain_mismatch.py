"""INI001 gain-mismatch: weights drawn for another activation than the one after the layer, and a signal that is lost because of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import checked, features, findings, labels, places
from tests.rules.initialization.weight_scale import deep, he, normal


def xavier(weight):
    nn.init.xavier_normal_(weight)


def tanh(weight):
    nn.init.xavier_normal_(weight, gain=5 / 3)


class Residual(nn.Module):
    """Thirty layers with shortcuts, and a norm at the end."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.norm, self.head = nn.Linear(20, 64), nn.LayerNorm(64), nn.Linear(64, 5)
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(30))

    def forward(self, x):
        x = self.stem(x)
        for layer in self.layers:
            x = x + F.relu(layer(x))
        return self.head(self.norm(x))


def unusual_part_of_a_normalized_net() -> nn.Module:
    return nn.Sequential(deep(3, init=normal(0.01)), nn.LayerNorm(5), nn.Linear(5, 5))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (deep(20), ("warning", "0")),
        (deep(50, init=xavier), ("warning", "0")),
        (deep(30, init=normal(0.02)), ("warning", "0")),
        (deep(10, init=normal(0.5)), ("warning", "0")),
        (deep(3, init=normal(0.5)), ("info", "2")),
    ],
    ids=["default at depth 20", "xavier and relu", "small", "large", "large but shallow"],
)
def test_gain_mismatch(model, expected) -> None:
    assert places(findings("INI001", model, features(), labels())) == [expected]


@pytest.mark.parametrize(
    "model",
    [
        deep(4),
        deep(7),
        deep(20, norm=True),
        unusual_part_of_a_normalized_net(),
        deep(20, init=he),
        deep(20, init=tanh, activation=nn.Tanh),
        deep(8, init=xavier, activation=nn.Tanh),
        deep(6, activation=nn.Sigmoid),
        deep(20, activation=nn.SELU),
        Residual(),
        nn.Sequential(nn.Linear(20, 5)),
    ],
    ids=[
        "shallow default",
        "default of depth 7",
        "normalized",
        "normalized later",
        "he",
        "tanh gain",
        "xavier and tanh",
        "sigmoid chain",
        "selu",
        "residual",
        "one layer",
    ],
)
def test_healthy_gain_is_silent(model) -> None:
    assert findings("INI001", model, features(), labels()) == []


def test_zero_output_layer_is_no_decay() -> None:
    model = deep(3)
    nn.init.zeros_(model[-1].weight)
    assert findings("INI001", model, features(), labels()) == []


@pytest.mark.parametrize(
    "code", ["INI001", "INI003", "INI004", "INI002", "INI006", "INI007", "INI009", "INI010", "INI012"]
)
def test_trained_weights_are_not_judged(code) -> None:
    torch.manual_seed(0)
    model, inputs, targets = deep(3), features(), labels()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    report = checked(code, model, inputs, targets)
    assert report.findings == []
    assert "trained" in report.skipped[0].reason
