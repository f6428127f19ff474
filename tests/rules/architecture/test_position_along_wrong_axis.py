"""ARC030: the axis along which positional encodings vary."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, findings

X, IDS, IMAGES = torch.randn(6, 9, 8), torch.randint(0, 20, (6, 9)), torch.randn(6, 3, 8, 8)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def sines(length, width):
    angles = torch.arange(length)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


class Tutorial(nn.Module):
    """PyTorch's own encoding for (time, batch, width)."""

    def __init__(self, *, batch_first):
        super().__init__()
        self.register_buffer("pe", sines(50, 8).unsqueeze(1))
        self.batch_first = batch_first

    def forward(self, x):
        return x + (self.pe[: x.size(1)].transpose(0, 1) if self.batch_first else self.pe[: x.size(0)])


def tutorial(net, x):
    return net.head(net.encode(net.position(net.embed(x))).mean(1))


def learned(net, x):
    x = net.embed(x)
    return net.head(net.encode(x + net.table[: x.shape[0]].unsqueeze(1)).mean(1))


def embedded(net, x):
    places = torch.arange(x.size(0)).unsqueeze(1)
    return net.head(net.encode(net.embed(x) + net.table(places)).mean(1))


def computed(net, x):
    x = net.embed(x)
    return net.head(net.encode(x + sines(len(x), 8)[:, None]).mean(1))


def filled(net, x):
    """Sines written into a table of zeros."""
    x = net.embed(x)
    table = torch.zeros(x.shape[0], 8)
    angles = torch.arange(x.shape[0]).float().unsqueeze(1) * torch.arange(1, 5)
    table[:, 0::2] = torch.sin(angles)
    table[:, 1::2] = torch.cos(angles)
    return net.head(net.encode(x + table.unsqueeze(1)).mean(1))


def expanded(net, x):
    x = net.embed(x)
    places = net.table[: len(x)].view(len(x), 1, 8).expand(-1, x.shape[1], -1)
    return net.head(net.encode(torch.add(x, places)).mean(1))


def in_place(net, x):
    x = net.embed(x) * 8**0.5
    x += net.pe[: x.size(0), None]
    return net.head(net.encode(x).mean(1))


def patches(net, x):
    x = net.conv(x).flatten(2).transpose(1, 2)
    return net.head(net.encode(x + net.table[: x.size(0)].unsqueeze(1)).mean(1))


def turned(x):
    one, two = x.chunk(2, -1)
    return torch.cat([-two, one], -1)


def rotary(*, axis):
    """Heads are axis 1, positions axis 2; tables are long enough for either."""

    def forward(net, x):
        q, k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in net.qkv(x).chunk(3, -1))
        size = q.shape[axis]
        shape = [1, 1, 1, 4]
        shape[axis] = size
        cos, sin = net.cos[:size].view(shape), net.sin[:size].view(shape)
        q, k = q * cos + turned(q) * sin, k * cos + turned(k) * sin
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return net.head(mixed.mean(1))

    angles = torch.arange(50)[:, None] * torch.tensor([1.0, 0.1, 1.0, 0.1])
    cos, sin = nn.Buffer(angles.cos()), nn.Buffer(angles.sin())
    return Net(forward, qkv=nn.Linear(8, 24), cos=cos, sin=sin, head=nn.Linear(8, 3))


def complex_rotary(*, axis):
    """Llama's: pairs of features are complex numbers; (batch, time, heads, pairs)."""

    def forward(net, x):
        q = torch.view_as_complex(net.q(x).view(6, 9, 2, 2, 2))
        shape = [1, 1, 1, 2]
        shape[axis] = q.shape[axis]
        q = torch.view_as_real(q * net.turns[: q.shape[axis]].view(shape)).flatten(3)
        return net.head(q.flatten(2).mean(1))

    turns = torch.polar(torch.ones(50, 2), torch.arange(50)[:, None] * torch.tensor([1.0, 0.1]))
    return Net(forward, q=nn.Linear(8, 8), turns=nn.Buffer(turns), head=nn.Linear(8, 3))


def with_encoder(forward, **layers):
    encode = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
    return Net(forward, encode=encode, head=nn.Linear(8, 3), **layers)


def embed():
    return nn.Embedding(20, 8)


FAULTY = [
    (with_encoder(tutorial, embed=embed(), position=Tutorial(batch_first=False)), IDS),
    (with_encoder(tutorial, embed=nn.Linear(8, 8), position=Tutorial(batch_first=False)), X),
    (with_encoder(learned, embed=embed(), table=nn.Parameter(torch.randn(50, 8))), IDS),
    (with_encoder(embedded, embed=embed(), table=nn.Embedding(50, 8)), IDS),
    (with_encoder(computed, embed=embed()), IDS),
    (with_encoder(filled, embed=embed()), IDS),
    (with_encoder(expanded, embed=embed(), table=nn.Parameter(torch.randn(50, 8))), IDS),
    (with_encoder(in_place, embed=embed(), pe=nn.Buffer(sines(50, 8))), IDS),
    (with_encoder(patches, conv=nn.Conv2d(3, 8, 4, 4), table=nn.Parameter(torch.randn(50, 8))), IMAGES),
    (rotary(axis=1), X),
    (rotary(axis=0), X),
    (complex_rotary(axis=2), X),
]


@pytest.mark.parametrize(("model", "inputs"), FAULTY)
def test_the_wrong_axis(model, inputs):
    (finding, *more) = findings("ARC030", model, inputs, loss=F.cross_entropy, targets=LABELS)
    assert finding.level.value == "warning"
    assert finding.evidence["varies_along"] != finding.evidence["positions_along"]
    assert len(more) < 2  # queries and keys on one line are one fault


def right(net, x):
    x = net.embed(x)
    return net.head(net.encode(x + net.table[: x.shape[1]]).mean(1))


def time_major(net, x):
    x = net.embed(x).transpose(0, 1)
    return net.head(net.encode(net.position(x).transpose(0, 1)).mean(1))


def noisy(net, x):
    x = net.embed(x)
    return net.head(net.encode(x + 0.1 * torch.randn(len(x), 1, 8)).mean(1))


def masked(net, x):
    scores = net.embed(x) + torch.zeros(len(x), 1, 8)
    return net.head(net.encode(scores).mean(1))


def head_bias(net, x):
    """Transformer-XL's: one bias for each head, added to the queries of all positions."""
    q = net.embed(x).unflatten(-1, (2, 4)) + net.bias
    return net.head(q.flatten(2).mean(1))


def head_slopes(net, x):
    q = net.embed(x).unflatten(-1, (2, 4)).transpose(1, 2)
    scores = q @ q.mT - net.slopes.view(2, 1, 1) * (torch.arange(9)[:, None] - torch.arange(9)).abs()
    return net.head((scores.softmax(-1) @ q).transpose(1, 2).flatten(2).mean(1))


def head_scales(net, x):
    q = net.embed(x).unflatten(-1, (2, 4)).transpose(1, 2)
    q = q * net.scale.view(2, 1, 4) + q * net.scale.view(2, 1, 4)
    return net.head(q.transpose(1, 2).flatten(2).mean(1))


def of_the_data(net, x):
    """A vector for each sample, added to its positions: made from the batch."""
    x = net.embed(x)
    return net.head(net.encode(x + net.mix(x.mean(1)).unsqueeze(1)).mean(1))


def segments(net, x):
    return net.head(net.encode(net.embed(x) + net.table(x % 3)).mean(1))


def two_axes(net, x):
    x = net.conv(x)
    x = x + net.rows[:, :, None] + net.columns[:, None, :]
    return net.head(net.encode(x.flatten(2).transpose(1, 2)).mean(1))


def shifted(net, x):
    """One number for all: a table without any axis."""
    return net.head(net.encode(net.embed(x) + net.shift).mean(1))


HEALTHY = [
    (with_encoder(shifted, embed=embed(), shift=nn.Parameter(torch.tensor(0.5))), IDS),
    (with_encoder(tutorial, embed=embed(), position=Tutorial(batch_first=True)), IDS),
    (with_encoder(right, embed=embed(), table=nn.Parameter(torch.randn(50, 8))), IDS),
    (with_encoder(time_major, embed=embed(), position=Tutorial(batch_first=False)), IDS),
    (with_encoder(noisy, embed=embed()), IDS),
    (with_encoder(masked, embed=embed()), IDS),
    (with_encoder(head_bias, embed=embed(), bias=nn.Parameter(torch.randn(2, 4))), IDS),
    (with_encoder(head_slopes, embed=embed(), slopes=nn.Buffer(torch.tensor([0.5, 0.25]))), IDS),
    (with_encoder(head_scales, embed=embed(), scale=nn.Parameter(torch.randn(8))), IDS),
    (with_encoder(of_the_data, embed=embed(), mix=nn.Linear(8, 8)), IDS),
    (with_encoder(segments, embed=embed(), table=nn.Embedding(3, 8)), IDS),
    (
        with_encoder(
            two_axes,
            conv=nn.Conv2d(3, 8, 2, 2),
            rows=nn.Parameter(torch.randn(8, 4)),
            columns=nn.Parameter(torch.randn(8, 4)),
        ),
        IMAGES,
    ),
    (rotary(axis=2), X),
    (complex_rotary(axis=1), X),
]


@pytest.mark.parametrize(("model", "inputs"), HEALTHY)
def test_the_right_axis(model, inputs):
    assert not findings("ARC030", model, inputs, loss=F.cross_entropy, targets=LABELS)


def test_time_major_data():
    """(time, batch) words, targets of the same layout: the tutorial's own model."""
    position = Tutorial(batch_first=False)
    encode = nn.TransformerEncoderLayer(8, 2, 16, 0.0)
    model = Net(
        lambda net, x: net.head(net.encode(net.position(net.embed(x)))),
        encode=encode,
        head=nn.Linear(8, 20),
        embed=embed(),
        position=position,
    )
    loss = lambda out, y: F.cross_entropy(out.view(-1, 20), y.reshape(-1))  # noqa: E731
    assert not findings("ARC030", model, IDS, loss=loss, targets=IDS)
