"""SIG002 saturated-units: values of a sigmoid, tanh or hardtanh in the flat part of the curve."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.rules.signal.units import Functional, findings


@pytest.mark.parametrize(
    ("activation", "gain", "level"),
    [
        (torch.sigmoid, 1.0, None),
        (torch.sigmoid, 20.0, "warning"),
        (torch.sigmoid, 500.0, "error"),
        (nn.Tanh(), 1.0, None),
        (nn.Tanh(), 8.0, "warning"),
        (lambda x: x.tanh(), 100.0, "error"),
        (nn.Hardtanh(), 8.0, "warning"),
        (nn.Hardtanh(0.0, 6.0), 8.0, None),
        (nn.Softsign(), 8.0, None),
    ],
)
def test_saturation(activation, gain, level) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(20, 64)
    nn.init.normal_(layer.weight, std=0.13 * gain)
    found = findings("SIG002", Functional(layer, activation), torch.randn(64, 20))
    assert [item.level.value for item in found] == ([level] if level else [])


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.value, self.gate, self.head = nn.Linear(20, 64), nn.Linear(20, 64), nn.Linear(64, 5)
        nn.init.constant_(self.gate.bias, -6.0)

    def forward(self, x):
        gate = torch.sigmoid(self.gate(x))
        return self.head(gate * self.value(x))


class Highway(Gated):
    def forward(self, x):
        h = self.value(x)
        gate = self.gate(x).sigmoid().unsqueeze(-1).squeeze(-1)
        return self.head((1 - gate) * h + h)


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(20, 64), nn.Linear(64, 5)
        nn.init.constant_(self.head.bias, -6.0)

    def forward(self, x):
        return torch.sigmoid(self.head(torch.relu(self.body(x))))


@pytest.mark.parametrize("model", [Gated, Highway, Detector])
def test_gates_meant_to_be_closed_and_priors_are_silent(model) -> None:
    assert findings("SIG002", model(), torch.randn(64, 20)) == []
