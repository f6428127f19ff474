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
    assert finding.level.value == "error"
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


# -------------------------------------------------------------------- other ways to write it

MAPS = torch.randn(2, 8, 4, 3)


def non_local(dim, transposed):
    """Queries, keys and values from 1x1 convolutions, as in self-attention GANs and non-local blocks."""

    def forward(net, x):
        q, k, v = (layer(x).flatten(2) for layer in (net.q, net.k, net.v))
        weights = torch.softmax(torch.bmm(q.transpose(1, 2), k), dim)
        mixed = torch.bmm(v, weights.transpose(1, 2) if transposed else weights)
        return x + mixed.view_as(x)

    return Net(forward, q=nn.Conv2d(8, 4, 1), k=nn.Conv2d(8, 4, 1), v=nn.Conv2d(8, 8, 1))


def by_einsum(dim, out="bhqk,bkhd->bqhd"):
    def forward(net, x):
        q, k, v = (part.unflatten(-1, (2, 4)) for part in net.qkv(x).chunk(3, -1))
        weights = torch.einsum("bqhd,bkhd->bhqk", q, k).div(2.0).softmax(dim)
        return torch.einsum(out, weights, v)

    return Net(forward, qkv=nn.Linear(8, 24))


def additive(dim):
    """Bahdanau's: a sum of queries and keys through tanh and one output."""

    def forward(net, x):
        queries = net.q(x[:, :4])
        scores = net.v(torch.tanh(queries.unsqueeze(2) + net.k(x).unsqueeze(1))).squeeze(-1)
        return F.softmax(scores, dim=dim) @ x

    return Net(forward, q=nn.Linear(8, 8), k=nn.Linear(8, 8), v=nn.Linear(8, 1))


def multiplied_and_summed(dim):
    """The product with the values written as a product and a sum."""

    def forward(net, x):
        weights = (net.q(x[:, :4]) @ net.k(x).transpose(1, 2)).softmax(dim)
        return (weights.unsqueeze(-1) * x.unsqueeze(1)).sum(2)

    return Net(forward, q=nn.Linear(8, 8), k=nn.Linear(8, 8))


def keys_first(dim):
    """Scores with keys in rows."""

    def forward(net, x):
        weights = torch.softmax(net.k(x) @ net.q(x).mT, dim)
        return weights.mT @ net.v(x)

    return Net(forward, q=nn.Linear(8, 8), k=nn.Linear(8, 8), v=nn.Linear(8, 8))


def graph_attention(dim):
    """GAT's: a sum of a source and a target score, masked by the edges."""

    def forward(net, x):
        h = net.w(x)
        scores = F.leaky_relu(net.source(h) + net.target(h).transpose(1, 2), 0.2)
        return scores.masked_fill(torch.zeros(6, 6, dtype=torch.bool), -1e9).softmax(dim) @ h

    return Net(forward, w=nn.Linear(8, 8), source=nn.Linear(8, 1), target=nn.Linear(8, 1))


def over_heads_in_the_batch(dim):
    def forward(net, x):
        q, k, v = (p.unflatten(-1, (2, 4)).transpose(1, 2).reshape(4, 6, 4) for p in net.qkv(x).chunk(3, -1))
        return torch.bmm(torch.baddbmm(torch.zeros(4, 6, 6), q, k.mT, alpha=0.5).softmax(dim), v)

    return Net(forward, qkv=nn.Linear(8, 24))


OTHERS = [
    (non_local(1, transposed=True), MAPS),
    (non_local(-1, transposed=False), MAPS),
    (by_einsum(2), X),
    (by_einsum(1), X),
    (by_einsum(-1, "bhqk,bqhd->bkhd"), X),
    (additive(1), X),
    (multiplied_and_summed(1), X),
    (keys_first(-1), X),
    (graph_attention(1), X),
    (over_heads_in_the_batch(1), X),
]


@pytest.mark.parametrize(("model", "inputs"), OTHERS)
def test_the_wrong_axis_in_other_words(model, inputs):
    (finding,) = findings("ARC027", model, inputs)
    assert finding.level.value == "error"


def clusters(net, x):
    """DiffPool: softmax over clusters, sum over nodes."""
    adjacency = torch.sigmoid(x @ x.mT)
    h = adjacency @ net.v(x)
    return net.q(h).softmax(-1).mT @ h


def routed(net, x):
    """Dynamic routing: softmax over capsules above, sum over those below."""
    votes = net.w(x).unflatten(-1, (3, 4))
    logits = votes.new_zeros(2, 6, 3)
    for _ in range(2):
        out = (logits.softmax(-1).unsqueeze(-1) * votes).sum(1, keepdim=True)
        logits = logits + (votes * out).sum(-1)
    return out.squeeze(1)


def soft_experts(net, x):
    logits = x @ net.slots
    inside = logits.softmax(1).mT @ x
    return logits.softmax(-1) @ torch.tanh(net.v(inside))


def both_ways(net, x):
    """BiDAF: the same scores normalized over either axis, each summed over its own."""
    c, q = x[:, :4], x[:, 4:]
    scores = net.q(c) @ net.k(q).mT
    return torch.cat([scores.softmax(2) @ q, scores.softmax(1).mT @ c], 1)


def channels(net, x):
    """Attention between channels: contracted over the places."""
    q, k, v = net.q(x).mT, net.k(x).mT, net.v(x).mT
    return ((q @ k.mT).softmax(-1) @ v).mT


def pooled(net, x):
    weights = net.one(torch.tanh(net.q(x))).softmax(1)
    return (weights * x).sum(1)


OTHERS_RIGHT = [
    (non_local(-1, transposed=True), MAPS),
    (non_local(1, transposed=False), MAPS),
    (by_einsum(-1), X),
    (additive(2), X),
    (multiplied_and_summed(2), X),
    (keys_first(-2), X),
    (graph_attention(-1), X),
    (over_heads_in_the_batch(-1), X),
    (Net(clusters, v=nn.Linear(8, 8), q=nn.Linear(8, 3)), X),
    (Net(routed, w=nn.Linear(8, 12)), X),
    (Net(soft_experts, slots=nn.Parameter(torch.randn(8, 3)), v=nn.Linear(8, 8)), X),
    (Net(both_ways, q=nn.Linear(8, 8), k=nn.Linear(8, 8)), X),
    (Net(channels, q=nn.Linear(8, 8), k=nn.Linear(8, 8), v=nn.Linear(8, 8)), X),
    (Net(pooled, q=nn.Linear(8, 8), one=nn.Linear(8, 1)), X),
]


@pytest.mark.parametrize(("model", "inputs"), OTHERS_RIGHT)
def test_the_right_axis_in_other_words(model, inputs):
    assert not findings("ARC027", model, inputs)
