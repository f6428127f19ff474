"""INI009 dominant-bias: A hidden layer's bias that is many times larger than everything else in the pre-activation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnlint.testing import Net, features, findings, labels, places


def biased(value: float, activation: nn.Module, *, layer: int = 2) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 32), activation, nn.Linear(32, 32), activation, nn.Linear(32, 5))
    nn.init.constant_(model[layer].bias, value)
    return model


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (biased(-10.0, nn.ReLU()), [("error", "2")]),
        (biased(10.0, nn.ReLU()), [("warning", "2")]),
        (biased(-10.0, nn.Sigmoid()), [("error", "2")]),
        (biased(10.0, nn.Tanh()), [("error", "2")]),
        (biased(0.1, nn.ReLU()), []),
        (biased(-0.2, nn.ReLU()), []),
        (biased(-2.0, nn.Sigmoid()), []),
        (biased(-10.0, nn.GELU()), []),
        (biased(-4.6, nn.ReLU(), layer=4), []),
        (biased(300.0, nn.ReLU(), layer=4), []),
    ],
    ids=["off", "on", "sigmoid", "tanh", "0.1", "-0.2", "sigmoid -2", "gelu", "detector prior", "value head"],
)
def test_bias(model, expected) -> None:
    assert places(findings("INI009", model, features(), labels())) == expected


def gate() -> nn.Module:
    """A highway layer whose gate starts closed."""
    torch.manual_seed(0)
    model = Net(
        lambda m, x: m.head(torch.sigmoid(m.gate(x)) * torch.relu(m.layer(x)) + x),
        gate=nn.Linear(20, 20),
        layer=nn.Linear(20, 20),
        head=nn.Linear(20, 5),
    )
    nn.init.constant_(model.gate.bias, -6.0)
    return model


def forget_gate() -> nn.Module:
    model = Net(
        lambda m, x: m.head(m.rnn(x.unsqueeze(1))[0][:, -1]),
        rnn=nn.LSTM(20, 16, batch_first=True),
        head=nn.Linear(16, 5),
    )
    with torch.no_grad():
        model.rnn.bias_ih_l0[16:32].fill_(10.0)
    return model


@pytest.mark.parametrize("model", [gate(), forget_gate()], ids=["highway gate", "forget gate"])
def test_gates_are_silent(model) -> None:
    assert findings("INI009", model, features(), labels()) == []
