"""ARC028: widths through which everything has to pass."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, findings, levels


def mlp(*widths):
    layers = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_fewer_units_than_classes_ask_for():
    (finding,) = findings("ARC028", mlp(8, 64, 4, 10), loss=F.cross_entropy)
    assert (finding.module, finding.level.value) == ("2", "warning")
    assert finding.evidence["limit"] == 9


def of_stages(net, x):
    return net.head(F.relu(net.squeeze(F.relu(net.body(x)))))


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (mlp(8, 64, 3, 200), None),
        (mlp(8, 128, 8, 64, 1000), None),
        (Net(of_stages, body=nn.Linear(8, 64), squeeze=nn.Linear(64, 2), head=nn.Linear(2, 101)), None),
        (
            nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Conv2d(8, 2, 4), nn.Flatten(), nn.Linear(2, 365)),
            torch.randn(16, 3, 8, 8),
        ),
        (nn.Sequential(nn.Linear(8, 256), nn.Tanh(), nn.LazyLinear(4), nn.Tanh(), nn.LazyLinear(10_000)), None),
    ],
    ids=["dense", "deep", "by hand", "convolution", "lazy"],
)
def test_few_units_for_hundreds_of_classes(model, inputs):
    (finding,) = findings("ARC028", model, inputs, loss=F.cross_entropy)
    assert finding.evidence["limit"] == 16


def test_a_width_of_one_between_wide_layers():
    assert levels("ARC028", mlp(8, 32, 1, 32, 3), loss=lambda out, y: F.mse_loss(out, torch.zeros(16, 3))) == {
        "2": "warning"
    }


class SqueezeExcite(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.down, self.up, self.head = (
            nn.Conv2d(3, 16, 3),
            nn.Linear(16, 1),
            nn.Linear(1, 16),
            nn.Linear(16, 10),
        )

    def forward(self, x):
        x = self.conv(x)
        gate = torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3))))))
        return self.head((x * gate[:, :, None, None]).mean((2, 3)))


def residual(net, x):
    return net.head(x + net.up(F.relu(net.down(x))))


def scalar_gate(net, x):
    return net.head(x * torch.sigmoid(net.gate(x)))


@pytest.mark.parametrize(
    ("model", "inputs", "loss"),
    [
        (mlp(8, 64, 32, 10), None, F.cross_entropy),
        (mlp(8, 64, 9, 10), None, F.cross_entropy),
        (mlp(8, 16, 16, 50), None, F.cross_entropy),
        (mlp(8, 64, 1), None, lambda out, y: out.pow(2).mean()),
        (mlp(8, 64, 1, 64, 8), torch.randn(16, 8), lambda out, y: out.pow(2).mean()),
        (mlp(8, 64, 16, 5000), None, F.cross_entropy),
        (mlp(8, 512, 128, 200), None, F.cross_entropy),
        (mlp(8, 256, 32, 100), None, F.cross_entropy),
        (mlp(8, 128, 32, 128, 50), None, F.cross_entropy),
        (nn.Sequential(nn.Linear(8, 2048), nn.Linear(2048, 128), nn.BatchNorm1d(128), nn.Linear(128, 8000)), None, F.cross_entropy),
        (Net(residual, down=nn.Linear(8, 2), up=nn.Linear(2, 8), head=nn.Linear(8, 10)), None, F.cross_entropy),
        (Net(scalar_gate, gate=nn.Linear(8, 1), head=nn.Linear(8, 10)), None, F.cross_entropy),
        (SqueezeExcite(), torch.randn(16, 3, 8, 8), F.cross_entropy),
        (nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10)), torch.randn(16, 3, 8, 8), F.cross_entropy),
    ],
    ids=[
        "wide", "classes - 1", "as wide as before", "regression", "autoencoder", "vocabulary", "many classes",
        "a hundred classes", "fifty classes", "faces", "residual", "scalar gate", "squeeze-excite", "channels",
    ],
)  # fmt: skip
def test_widths_that_are_meant(model, inputs, loss):
    assert not findings("ARC028", model, inputs, loss=loss)
