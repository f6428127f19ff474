"""INI008, INI009, INI011: weights and biases against the activation or the loss behind them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, checked, features, findings, labels, places


def selu(*, lecun: bool, dropout: nn.Module | None = None, norm: bool = False, layers: int = 3) -> nn.Module:
    torch.manual_seed(0)
    made: list[nn.Module] = []
    for index in range(layers):
        layer = nn.Linear(20 if index == 0 else 64, 64)
        if lecun:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
        made += [layer, *([nn.BatchNorm1d(64)] if norm else []), nn.SELU(), *([dropout] if dropout is not None else [])]
    return nn.Sequential(*made, nn.Linear(64, 5))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (selu(lecun=False), [("warning", "0")]),
        (selu(lecun=True), []),
        (selu(lecun=True, dropout=nn.AlphaDropout(0.1)), []),
        (selu(lecun=True, dropout=nn.Dropout(0.1)), [("warning", "2")]),
        (selu(lecun=True, dropout=nn.Dropout(0.0)), []),
        (selu(lecun=False, norm=True), []),
        (selu(lecun=False, layers=1), []),
        (nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5)), []),
    ],
    ids=["default", "lecun", "alpha dropout", "dropout", "p = 0", "normalized", "one selu", "no selu"],
)
def test_selu(model, expected) -> None:
    assert places(findings("INI008", model, features(), labels())) == expected


def test_functional_selu() -> None:
    model = Net(
        lambda m, x: m.c(F.selu(m.b(torch.selu(m.a(x))))), a=nn.Linear(20, 64), b=nn.Linear(64, 64), c=nn.Linear(64, 5)
    )
    assert places(findings("INI008", model, features(), labels())) == [("warning", "a")]


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


class Tied(nn.Module):
    """A language model whose head is its embedding."""

    def __init__(self, std: float = 1.0, scale: float = 1.0, width: int = 64):
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.norm, self.scale = nn.Embedding(100, width), nn.LayerNorm(width), scale
        self.mix = nn.Linear(width, width)
        nn.init.normal_(self.embedding.weight, std=std)

    def forward(self, tokens):
        hidden = self.norm(torch.tanh(self.mix(self.embedding(tokens))))
        return F.linear(hidden * self.scale, self.embedding.weight).transpose(1, 2)


TOKENS = torch.randint(0, 100, (16, 9), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("model", "levels"),
    [
        (Tied(), ["error"]),
        (Tied(std=0.2), ["warning"]),
        (Tied(std=0.02), []),
        (Tied(scale=64**-0.5), []),
    ],
    ids=["torch default", "smaller", "small", "scaled hidden state"],
)
def test_tied_embedding(model, levels) -> None:
    assert [level for level, _ in places(findings("INI011", model, TOKENS[:, :-1], TOKENS[:, 1:]))] == levels


def test_untied_head_is_silent() -> None:
    model = nn.Sequential(nn.Embedding(100, 64), nn.LayerNorm(64), nn.Flatten(), nn.Linear(512, 5))
    assert findings("INI011", model, TOKENS[:, :8], labels(16)) == []


def test_tied_embedding_without_loss_is_skipped() -> None:
    report = checked("INI011", Tied(), TOKENS)
    assert [item.code for item in report.skipped] == ["INI011"]
