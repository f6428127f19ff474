"""ARC019 hidden-softmax: softmax used as the activation between two learnable layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, findings


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: net.b(F.softmax(net.a(x), dim=1)),
        lambda net, x: net.b(F.dropout(net.a(x).softmax(-1), 0.1, net.training)),
        lambda net, x: net.b(F.log_softmax(net.a(x), dim=1)),
        lambda net, x: net.conv(net.a(x).softmax(-1)[:, None]),
    ],
)
def test_a_softmax_between_layers(forward):
    (finding,) = findings("ARC019", Net(forward, a=nn.Linear(8, 8), b=nn.Linear(8, 8), conv=nn.Conv1d(1, 4, 3)))
    assert finding.level.value == "warning"


def attention(net, x):
    weights = (net.a(x) @ net.b(x).transpose(-1, -2)).softmax(-1)
    return net.c(weights @ x)


def mixture(net, x):
    weights = net.a(x).softmax(-1)
    return net.b((weights[:, :, None] * x[:, None]).sum(1))


def mixed_heads(net, x):
    """A layer mixes the attention weights of the heads; they still weigh the values."""
    heads = torch.stack([net.a(x), net.b(x)], dim=-1)
    weights = net.mix((heads @ heads.transpose(-1, -2)).flatten(1)[:, :8].softmax(-1))
    return (weights[:, None] @ net.c(x)[:, :, None]).squeeze(-1)


def codebook(net, x):
    return net.b(net.a(x).softmax(-1) @ net.memory)


def expectation(net, x):
    """The mean of a distribution over fixed bins, as box regression takes it."""
    return net.b(F.linear(net.a(x).softmax(-1), torch.arange(8.0).expand(8, 8)))


def cascade(net, x):
    probabilities = net.a(x).softmax(-1)
    return net.b(probabilities), probabilities


@pytest.mark.parametrize(
    "forward",
    [
        attention,
        mixture,
        mixed_heads,
        codebook,
        expectation,
        cascade,
        lambda net, x: net.b(F.gumbel_softmax(net.a(x))),
        lambda net, x: net.a(x).softmax(-1),
    ],
    ids=["attention", "mixture", "talking heads", "memory", "expectation", "returned too", "gumbel", "output"],
)
def test_softmax_weights(forward):
    net = Net(
        forward,
        a=nn.Linear(8, 8),
        b=nn.Linear(8, 8),
        c=nn.Linear(8, 8),
        mix=nn.Linear(8, 8),
        memory=nn.Parameter(torch.randn(8, 8)),
    )
    assert not findings("ARC019", net, torch.randn(16, 8))
