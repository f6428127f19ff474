"""ARC024 sigmoid-chain: two or more saturating hidden activations in sequence, and a measured decay through them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, findings, levels
from tests.rules.architecture.small_rules import IMAGE


def stack(act, depth=3, width=32, gain=None):
    torch.manual_seed(0)
    layers = []
    for position in range(depth):
        layers += [nn.Linear(width if position else 8, width), act()]
        if gain is not None:
            nn.init.xavier_normal_(layers[-2].weight, gain)
    return nn.Sequential(*layers, nn.Linear(width, 5))


def checked(model, inputs=None):
    return levels("ARC024", model, inputs, loss=F.cross_entropy)


@pytest.mark.parametrize("act", [nn.Sigmoid, nn.Hardsigmoid])
@pytest.mark.parametrize("depth", [2, 3, 6])
def test_sigmoids_in_a_row(act, depth):
    assert checked(stack(act, depth)) == {"0": "warning"}


@pytest.mark.parametrize("call", [torch.sigmoid, F.sigmoid, lambda h: h.sigmoid(), lambda h: h.sigmoid_()])
def test_functions_and_methods(call):
    net = Net(
        lambda net, x: net.c(call(net.b(call(net.a(x))))), a=nn.Linear(8, 32), b=nn.Linear(32, 32), c=nn.Linear(32, 5)
    )
    assert checked(net) == {"a": "warning"}


def normed():
    return nn.Sequential(
        nn.Linear(8, 8),
        nn.BatchNorm1d(8),
        nn.Sigmoid(),
        nn.Linear(8, 8),
        nn.BatchNorm1d(8),
        nn.Sigmoid(),
        nn.Linear(8, 8),
    )


def squeeze_excite(net, x):
    for conv, down, up in ((net.c1, net.d1, net.u1), (net.c2, net.d2, net.u2)):
        x = conv(x)
        x = x * torch.sigmoid(up(F.relu(down(x.mean((2, 3)))))).unflatten(1, (8, 1, 1))
    return net.head(x.mean((2, 3)))


def highway(net, x):
    for transform, gate in ((net.a, net.b), (net.c, net.d)):
        weight = torch.sigmoid(gate(x))
        x = weight * torch.tanh(transform(x)) + (1 - weight) * x
    return net.head(x)


SILENT = {
    "one hidden sigmoid": (lambda: stack(nn.Sigmoid, 1), None),
    "tanh": (lambda: stack(nn.Tanh, 4, gain=5 / 3), None),
    "tanh with torch's defaults": (lambda: stack(nn.Tanh, 3), None),
    "sigmoids with weights scaled for them": (lambda: stack(nn.Sigmoid, 2, gain=4.0), None),
    "relu and a sigmoid at the end": (lambda: nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Sigmoid()), None),
    "alternating": (lambda: nn.Sequential(
        nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 8)), None),
    "norms": (normed, None),
    "highway gates": (lambda: Net(highway, **{name: nn.Linear(8, 8) for name in "abcd"}, head=nn.Linear(8, 8)), None),
    "squeeze-excite": (
        lambda: Net(
            squeeze_excite,
            c1=nn.Conv2d(3, 8, 3), c2=nn.Conv2d(8, 8, 3), d1=nn.Linear(8, 4), d2=nn.Linear(8, 4),
        u1=nn.Linear(4, 8), u2=nn.Linear(4, 8), head=nn.Linear(8, 8),
        ),
        IMAGE,
    ),
    "lstm": (
        lambda: Net(lambda net, x: net.head(net.rnn(x)[0][:, -1]), rnn=nn.LSTM(8, 8, 2, batch_first=True), head=nn.Linear(8, 8)),
        torch.randn(4, 6, 8),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SILENT)
def test_designs_without_decay(case):
    build, inputs = SILENT[case]
    torch.manual_seed(0)
    targets = torch.zeros(16 if inputs is None else 4, dtype=torch.long)
    assert not findings("ARC024", build(), inputs, loss=F.cross_entropy, targets=targets)
