"""ARC006 repeated-activation: an activation applied to the output of another with nothing learnable between."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, findings, levels


@pytest.mark.parametrize(
    "pair",
    [
        nn.Sequential(nn.Sigmoid(), nn.Sigmoid()),
        nn.Sequential(nn.Tanh(), nn.Dropout(0.1), nn.Sigmoid()),
        Net(lambda net, x: torch.tanh(F.softmax(x, dim=1))),
        Net(lambda net, x: x.sigmoid().view(16, 8).softmax(1)),
    ],
)
def test_squashed_twice(pair):
    assert set(levels("ARC006", nn.Sequential(nn.Linear(8, 8), pair)).values()) == {"warning"}


@pytest.mark.parametrize(
    "pair",
    [nn.Sequential(nn.ReLU(), nn.ReLU()), nn.Sequential(nn.Sigmoid(), nn.ReLU()), nn.Sequential(nn.GELU(), nn.ReLU())],
)
def test_pairs_that_do_little(pair):
    assert set(levels("ARC006", nn.Sequential(nn.Linear(8, 8), pair)).values()) == {"info"}


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: torch.tanh(torch.sigmoid(net.a(x)) * net.b(x)),
        lambda net, x: torch.sigmoid(net.b(torch.tanh(net.a(x)))),
        lambda net, x: torch.sigmoid(net.norm(torch.tanh(net.a(x)))),
        lambda net, x: torch.sigmoid(torch.tanh(net.a(x)) + net.b(x)),
        lambda net, x: torch.sigmoid(net.rnn(x[None])[0]),
    ],
    ids=["gate", "layer between", "norm between", "sum", "recurrent layer"],
)
def test_something_stands_between(forward):
    assert not findings(
        "ARC006", Net(forward, a=nn.Linear(8, 8), b=nn.Linear(8, 8), norm=nn.LayerNorm(8), rnn=nn.GRU(8, 8))
    )
