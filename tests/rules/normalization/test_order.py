"""NRM002, NRM003, NRM012: the order of layer, norm, activation and dropout."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, features, findings, images, places


def test_norm_behind_a_functional_activation_of_its_layer() -> None:
    model = Net(
        lambda m, x: m.norm2(F.relu(m.conv2(m.norm1(m.conv1(x).relu_())))).mean(dim=(2, 3)),
        conv1=nn.Conv2d(3, 8, 3),
        norm1=nn.BatchNorm2d(8),
        conv2=nn.Conv2d(8, 8, 3),
        norm2=nn.BatchNorm2d(8),
    )
    reported = findings("NRM002", model, images())
    assert places(reported) == [("info", "norm1")]
    assert "norm2" in reported[0].modules


class PreActivation(nn.Module):
    """A stem and a pre-activation residual block."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm1, self.conv1 = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1)
        self.norm2, self.conv2 = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        x = self.stem(x)
        return x + self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))


@pytest.mark.parametrize(
    "model",
    [
        PreActivation(),
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 8, 3)),
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.GroupNorm(2, 8)),
    ],
    ids=["pre-activation", "usual order", "no layer before", "group norm"],
)
def test_other_orders_are_silent(model) -> None:
    assert findings("NRM002", model, images()) == []


@pytest.mark.parametrize(
    ("activation", "same"), [(nn.Tanh(), False), (nn.GELU(), False), (nn.ReLU(), True), (nn.LeakyReLU(), True)]
)
def test_dropout_before_an_activation(activation, same) -> None:
    model = nn.Sequential(nn.Linear(20, 32), nn.Dropout(0.3), activation, nn.Linear(32, 5))
    reported = findings("NRM003", model, features())
    assert places(reported) == [("info", "1")]
    assert reported[0].evidence["same_values"] is same


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Dropout(0.3), nn.Linear(32, 5), nn.Tanh()),
        nn.Sequential(nn.Dropout(0.3), nn.Tanh(), nn.Linear(20, 5)),
        nn.Sequential(nn.Linear(20, 32), nn.Dropout(0.0), nn.Tanh(), nn.Linear(32, 5)),
        nn.Sequential(nn.Linear(20, 32), nn.AlphaDropout(0.1), nn.SELU(), nn.Linear(32, 5)),
        Net(lambda m, x: F.dropout(m.fc(x), 0.5, training=False).tanh(), fc=nn.Linear(20, 5)),
        Net(lambda m, x: F.dropout(m.fc(x).softmax(-1), 0.5), fc=nn.Linear(20, 5)),
    ],
    ids=["usual order", "on the input", "p = 0", "alpha dropout", "never in training", "attention-like"],
)
def test_dropout_elsewhere_is_silent(model) -> None:
    assert findings("NRM003", model, features()) == []


def test_norms_in_sequence_through_a_view() -> None:
    model = Net(lambda m, x: m.b(m.a(x).reshape(-1, 20)), a=nn.LayerNorm(20), b=nn.BatchNorm1d(20))
    assert places(findings("NRM012", model, features())) == [("info", "b")]


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.LayerNorm(20), nn.Linear(20, 20), nn.LayerNorm(20)),
        nn.Sequential(nn.LayerNorm(20), nn.ReLU(), nn.LayerNorm(20)),
        Net(lambda m, x: F.normalize(m.norm(x), dim=-1), norm=nn.LayerNorm(20)),
        Net(lambda m, x: m.b(x + m.a(x)), a=nn.LayerNorm(20), b=nn.LayerNorm(20)),
        Net(lambda m, x: (y := m.a(x)) + m.fc(m.b(y)), a=nn.LayerNorm(20), b=nn.LayerNorm(20), fc=nn.Linear(20, 20)),
    ],
    ids=["layer between", "activation between", "unit length at the end", "sum between", "residual stream"],
)
def test_norms_apart_are_silent(model) -> None:
    assert findings("NRM012", model, features()) == []


def test_final_norm_behind_a_post_norm_encoder() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(16), enable_nested_tensor=False)
    assert places(findings("NRM012", model, torch.randn(4, 6, 16))) == [("info", "norm")]
