"""ARC027: the softmax's axis and the axis that is summed over."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, findings

X = torch.randn(2, 6, 8)


def attend(dim, *, between=lambda weights: weights, heads=False):
    def forward(net, x):
        q, k, v = net.qkv(x).chunk(3, dim=-1)
        if heads:
            q, k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in (q, k, v))
        scores = q @ k.transpose(-2, -1) / 8**0.5
        scores = scores.masked_fill(torch.zeros(6, 6, dtype=torch.bool), -1e9)
        return between(scores.softmax(dim)) @ v

    return Net(forward, qkv=nn.Linear(8, 24))


def transposed_values(dim):
    """The form of self-attention GANs: values times the transposed map."""

    def forward(net, x):
        q, k, v = net.qkv(x).chunk(3, dim=-1)
        weights = F.softmax(torch.bmm(q, k.permute(0, 2, 1)), dim=dim)
        return torch.bmm(v.permute(0, 2, 1), weights.permute(0, 2, 1))

    return Net(forward, qkv=nn.Linear(8, 24))


@pytest.mark.parametrize(
    "model",
    [
        attend(-2),
        attend(1),
        attend(0),
        attend(-2, heads=True),
        attend(1, heads=True),
        attend(-2, between=lambda weights: F.dropout(weights, 0.1)),
        transposed_values(-2),
    ],
)
def test_the_wrong_axis(model):
    (finding,) = findings("ARC027", model, X)
    assert finding.level.value == "warning"
    assert finding.evidence["softmax_axis"] != finding.evidence["summed_axis"]


def slots(net, x):
    scores = net.slots @ net.k(x).transpose(-2, -1)
    weights = scores.softmax(dim=1) + 1e-8
    return (weights / weights.sum(-1, keepdim=True)) @ net.v(x)


def efficient(net, x):
    """Linear attention: softmax of queries and of keys."""
    return net.q(x).softmax(-1) @ (net.k(x).softmax(1).transpose(1, 2) @ net.v(x))


@pytest.mark.parametrize(
    "model",
    [
        attend(-1),
        attend(2),
        attend(-1, heads=True),
        attend(-1, between=lambda weights: weights.to(torch.float32).contiguous()),
        attend(-2, between=lambda weights: weights.transpose(-2, -1)),
        transposed_values(-1),
        Net(slots, slots=nn.Parameter(torch.randn(2, 3, 8)), k=nn.Linear(8, 8), v=nn.Linear(8, 8)),
        Net(efficient, q=nn.Linear(8, 8), k=nn.Linear(8, 8), v=nn.Linear(8, 8)),
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
    ],
)
def test_the_right_axis(model):
    assert not findings("ARC027", model, X)


def test_declared_slot_attention():
    assert not findings("ARC027", attend(-2), X, declared={"slot-attention"})
