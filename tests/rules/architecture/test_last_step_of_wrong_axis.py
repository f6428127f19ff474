"""ARC031: along which axis a step is taken."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnlint
from nnlint.testing import Net

X, IDS, SOUND = torch.randn(6, 9, 8), torch.randint(0, 20, (6, 9)), torch.randn(6, 5, 12)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
FIRST = {"batch_first": True}


def last_of_batch(net, x):
    return net.head(net.rnn(x)[0][-1])


def last_of_batch_spelled_out(net, x):
    out, _ = net.rnn(net.embed(x))
    return net.head(torch.relu(out)[-1, :, :])


def last_of_time_major(net, x):
    out, _ = net.rnn(x.transpose(0, 1))
    return net.head(out[:, -1])


def state_of_last_sample(net, x):
    return net.head(net.rnn(x)[1][:, -1])


def cell_of_last_sample(net, x):
    return net.head(net.rnn(x)[1][0][:, -1, :])


def token_of_first_sample(net, x):
    return net.head(net.encoder(net.embed(x))[0])


def token_of_attention(net, x):
    return net.head(net.attention(x, x, x)[0].select(0, 0))


def sound(net, x):
    out, _ = net.rnn(net.conv(x).transpose(1, 2))
    return net.head(net.norm(out)[len(x) - 1])


def by_unbind(net, x):
    return net.head(net.rnn(x)[0].unbind(0)[-1])


def written_attention(net, x):
    weights = (net.embed(x) @ net.embed(x).mT).softmax(-1)
    out, _ = net.rnn(weights @ net.embed(x))
    return net.head(out[0])


def lowest_layer(net, x):
    return net.head(net.rnn(x)[1][0])


def embed():
    return nn.Embedding(20, 8)


def encoder():
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.0, **FIRST), 1)


FAULTY = [
    (last_of_batch, X, {"rnn": nn.LSTM(8, 8, **FIRST)}),
    (last_of_batch, X, {"rnn": nn.GRU(8, 8, 2, **FIRST)}),
    (last_of_batch_spelled_out, IDS, {"embed": embed(), "rnn": nn.RNN(8, 8, **FIRST)}),
    (last_of_time_major, X, {"rnn": nn.GRU(8, 8)}),
    (state_of_last_sample, X, {"rnn": nn.GRU(8, 8, **FIRST)}),
    (cell_of_last_sample, X, {"rnn": nn.LSTM(8, 8, 2, **FIRST)}),
    (token_of_first_sample, IDS, {"embed": embed(), "encoder": encoder()}),
    (token_of_attention, X, {"attention": nn.MultiheadAttention(8, 2, **FIRST)}),
    (sound, SOUND, {"conv": nn.Conv1d(5, 8, 3), "rnn": nn.LSTM(8, 8, **FIRST), "norm": nn.LayerNorm(8)}),
    (written_attention, IDS, {"embed": embed(), "rnn": nn.GRU(8, 8, **FIRST)}),
    (lowest_layer, X, {"rnn": nn.GRU(8, 8, 2, **FIRST)}),
]


def check(function, inputs, layers):
    """The findings, with a loss that takes whatever comes."""
    model = Net(function, head=nn.Linear(8, 3), **layers)
    loss = lambda out, y: (out.logsumexp(-1) - out.select(-1, 0)).mean() + 0 * y.sum()  # noqa: E731
    given = {"model": model, "inputs": inputs, "targets": LABELS, "loss": loss}
    (result,) = nnlint.check(given, select=("ARC031",)).results
    assert not result.skipped
    return result.findings


@pytest.mark.parametrize(("function", "inputs", "layers"), FAULTY)
def test_the_wrong_axis(function, inputs, layers):
    (finding,) = check(function, inputs, layers)
    assert finding.code == "ARC031"
    assert finding.level.value == "warning"


def last(net, x):
    return net.head(net.rnn(x)[0][:, -1])


def last_time_major(net, x):
    return net.head(net.rnn(x.transpose(0, 1))[0][-1])


def state(net, x):
    return net.head(net.rnn(x)[1][-1])


def state_of_both_ways(net, x):
    h = net.rnn(x)[1]
    return net.head(h[0] + h[1])


def one_step_decoder(net, x):
    """A decoder that makes one step: the axis of time has length one."""
    out, _ = net.rnn(x[:, -1:].transpose(0, 1))
    return net.head(out[0])


def every_sample(net, x):
    out, _ = net.rnn(x)
    return torch.stack([net.head(out[i, -1]) for i in range(len(x))])


def iterated(net, x):
    return torch.stack([net.head(sample[-1]) for sample in net.rnn(x)[0]])


def unused(net, x):
    out, _ = net.rnn(x)
    net.shown = out[0].detach()
    return net.head(out[:, -1])


def shared_mask(net, x):
    """A mask that is the same for all samples is taken from the first."""
    mask = (x != 0).unsqueeze(1).expand(-1, 9, -1)
    out = net.encoder(net.embed(x), mask=~mask[0])
    return net.head(out[:, 0])


def first_token(net, x):
    return net.head(net.encoder(net.embed(x))[:, 0])


def by_lengths(net, x):
    out, _ = net.rnn(x)
    return net.head(out[torch.arange(len(x)), torch.full((len(x),), 5)])


HEALTHY = [
    (last, X, {"rnn": nn.LSTM(8, 8, **FIRST)}),
    (last_time_major, X, {"rnn": nn.GRU(8, 8)}),
    (state, X, {"rnn": nn.GRU(8, 8, 2, **FIRST)}),
    (state_of_both_ways, X, {"rnn": nn.GRU(8, 8, **FIRST, bidirectional=True)}),
    (one_step_decoder, X, {"rnn": nn.GRU(8, 8)}),
    (every_sample, X, {"rnn": nn.GRU(8, 8, **FIRST)}),
    (iterated, X, {"rnn": nn.GRU(8, 8, **FIRST)}),
    (unused, X, {"rnn": nn.GRU(8, 8, **FIRST)}),
    (shared_mask, IDS, {"embed": embed(), "encoder": encoder()}),
    (first_token, IDS, {"embed": embed(), "encoder": encoder()}),
    (by_lengths, X, {"rnn": nn.GRU(8, 8, **FIRST)}),
]


@pytest.mark.parametrize(("function", "inputs", "layers"), HEALTHY)
def test_the_right_axis(function, inputs, layers):
    assert not check(function, inputs, layers)
