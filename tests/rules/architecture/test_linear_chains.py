"""ARC005: linear maps that compose, and the designs in which a second one is meant."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.rules.architecture.netcheck import Net, found, levels, linear

IMAGE = torch.randn(4, 8, 10, 10)

COMPOSED = {
    "sequential": (nn.Sequential(linear(), linear()), None),
    "functional": (Net(lambda net, x: F.linear(net.a(x), net.b.weight), a=linear(), b=linear()), None),
    "method": (Net(lambda net, x: net.a(x) @ net.w, a=linear(), w=nn.Parameter(torch.randn(8, 8))), None),
    "view between": (Net(lambda net, x: net.b(net.a(x).view(2, 8, 8).flatten(0, 1)), a=linear(), b=linear()), None),
    "dropout between": (nn.Sequential(linear(), nn.Dropout(0.5), linear()), None),
    "scale between": (
        Net(lambda net, x: net.b(net.a(x) * 0.5 + net.w), a=linear(), b=linear(), w=nn.Parameter(torch.ones(8))),
        None,
    ),
    "convolutions": (nn.Sequential(nn.Conv2d(8, 16, 3), nn.Conv2d(16, 16, 3)), IMAGE),
    "batch norm between": (nn.Sequential(nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.Conv2d(16, 16, 3)), IMAGE),
    "average pooling between": (nn.Sequential(nn.Conv2d(8, 16, 3), nn.AvgPool2d(2), nn.Conv2d(16, 16, 3)), IMAGE),
    "head": (nn.Sequential(nn.Linear(8, 32), nn.Linear(32, 3)), None),
}


@pytest.mark.parametrize("case", COMPOSED)
def test_maps_that_compose(case):
    model, inputs = COMPOSED[case]
    (finding,) = found("ARC005", model, inputs)
    assert finding.level.value == "warning"


def test_a_chain_of_three_is_one_finding():
    (finding,) = found("ARC005", nn.Sequential(linear(), linear(), linear()))
    assert finding.evidence["layers"] == 3


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = linear(), linear()

    def forward(self, x):
        return self.b(x + self.a(x))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.out = (linear() for _ in range(4))

    def forward(self, x):
        scores = self.q(x) @ self.k(x).transpose(-1, -2)
        return self.out(scores.softmax(-1) @ self.v(x))


DESIGNS = {
    "activation": (nn.Sequential(linear(), nn.ReLU(), linear()), None),
    "low rank": (nn.Sequential(nn.Linear(8, 2, bias=False), nn.Linear(2, 8)), None),
    "bottleneck": (nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 8)), None),
    "depthwise then pointwise": (nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 16, 1)), IMAGE),
    "pointwise then depthwise": (nn.Sequential(nn.Conv2d(8, 16, 1), nn.Conv2d(16, 16, 3, groups=16)), IMAGE),
    "linear bottleneck": (nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 48, 1)), IMAGE),
    "factorised kernel": (nn.Sequential(nn.Conv2d(8, 8, (1, 3)), nn.Conv2d(8, 8, (3, 1))), IMAGE),
    "layer norm": (nn.Sequential(linear(), nn.LayerNorm(8), linear()), None),
    "max pooling": (nn.Sequential(nn.Conv2d(8, 8, 3), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3)), IMAGE),
    "residual sum": (Residual(), None),
    "attention": (Attention(), torch.randn(2, 5, 8)),
    "multi-head attention": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.randn(2, 5, 8)),
    "two readers": (Net(lambda net, x: (h := net.a(x)).relu() + net.b(h), a=linear(), b=linear()), None),
    "gate": (Net(lambda net, x: net.c(net.a(x) * torch.sigmoid(net.b(x))), a=linear(), b=linear(), c=linear()), None),
    "embedding": (Net(lambda net, x: net.b(net.e(x)), e=nn.Embedding(8, 8), b=linear()), torch.randint(0, 8, (4, 3))),
    "returned too": (Net(lambda net, x: (h := net.a(x), net.b(h)), a=linear(), b=linear()), None),
}


@pytest.mark.parametrize("case", DESIGNS)
def test_designs(case):
    model, inputs = DESIGNS[case]
    assert not found("ARC005", model, inputs)


def test_a_convolution_read_out_by_a_linear_layer_is_an_info():
    model = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(512, 3))
    assert levels("ARC005", model, IMAGE) == {"0": "info"}
