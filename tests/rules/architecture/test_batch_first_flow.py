"""ARC009 where the layout comes from the net itself: the axis of the samples is followed to the layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nnlint
from nnlint.testing import Net, findings

IMAGES, SOUND = torch.randn(6, 1, 8, 20), torch.randn(6, 5, 20)
SEQUENCES, WORDS = torch.randn(6, 9, 8), torch.randint(0, 20, (6, 9))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def columns(net, x):
    """Text reading: the columns of the map are the steps, first."""
    f = net.conv(x).mean(2).permute(2, 0, 1)
    return net.head(net.rnn(f)[0]).mean(0)


def columns_by_einsum(net, x):
    f = torch.einsum("nchw->wnc", net.conv(x))
    return net.head(net.rnn(f)[0]).mean(0)


def sound(net, x):
    f = torch.relu(net.conv(x)).permute(2, 0, 1)
    return net.head(net.rnn(f)[0][-1])


def words(net, x):
    out, _ = net.rnn(net.embed(x).transpose(0, 1))
    return net.head(out[-1])


def words_transposed_first(net, x):
    return net.head(net.rnn(net.embed(x.t()))[1][-1])


def encoder(net, x):
    f = net.embed(x).permute(1, 0, 2)
    return net.head(net.rnn(f).mean(0))


def attention(net, x):
    f = net.embed(x).movedim(0, 1)
    return net.head(net.rnn(f, f, f)[0].mean(0))


def lstm_states(net, x):
    f = net.conv(x).flatten(1, 2).permute(2, 0, 1).contiguous()
    _, (h, _) = net.rnn(f)
    return net.head(h[-1])[:6]


def stacked_frames(net, x):
    frames = torch.stack([net.embed(x[:, t]) for t in range(x.shape[1])])
    return net.head(net.rnn(frames)[0][-1])


def frames_of_clips(net, x):
    """Clips folded into the batch, unfolded in the wrong order of axes."""
    n, t, w = x.shape
    frames = net.embed(x.reshape(n * t, w)).view(n, t, -1)
    return net.head(net.rnn(frames)[0].mean(1))


def conv():
    return nn.Conv2d(1, 7, 3, padding=1)


FIRST, LAST = {"batch_first": True}, {"batch_first": False}
FAULTY = [
    (columns, IMAGES, {"conv": conv(), "rnn": nn.LSTM(7, 8, **FIRST)}),
    (columns_by_einsum, IMAGES, {"conv": conv(), "rnn": nn.GRU(7, 8, **FIRST)}),
    (sound, SOUND, {"conv": nn.Conv1d(5, 7, 3), "rnn": nn.GRU(7, 8, **FIRST)}),
    (words, WORDS, {"embed": nn.Embedding(20, 8), "rnn": nn.LSTM(8, 8, **FIRST)}),
    (words_transposed_first, WORDS, {"embed": nn.Embedding(20, 8), "rnn": nn.RNN(8, 8, **FIRST)}),
    (encoder, SEQUENCES, {"embed": nn.Linear(8, 8), "rnn": nn.TransformerEncoderLayer(8, 2, 16, 0.0, **FIRST)}),
    (attention, SEQUENCES, {"embed": nn.Linear(8, 8), "rnn": nn.MultiheadAttention(8, 2, **FIRST)}),
    (lstm_states, IMAGES, {"conv": conv(), "rnn": nn.LSTM(56, 8, 2, **LAST, bidirectional=True)}),
    (stacked_frames, SEQUENCES, {"embed": nn.Linear(8, 8), "rnn": nn.GRU(8, 8, **FIRST)}),
    (frames_of_clips, SEQUENCES, {"embed": nn.Linear(8, 8), "rnn": nn.GRU(8, 8, **LAST)}),
    (lambda net, x: net.head(net.rnn(x)[0][:, -1]), SEQUENCES, {"rnn": nn.LSTM(8, 8, **LAST)}),
]  # fmt: skip


def _wrong(function, layers):
    """lstm_states is right as it stands in the list: its layer is turned round here."""
    return (
        {**layers, "rnn": nn.LSTM(56, 8, 2, batch_first=True, bidirectional=True)}
        if function is lstm_states
        else layers
    )


def _right(function, layers):
    rnn = layers["rnn"]
    if function is not lstm_states:
        layer = getattr(rnn, "self_attn", rnn)
        layer.batch_first = not layer.batch_first
    return layers


@pytest.mark.parametrize(("function", "inputs", "layers"), FAULTY)
def test_along_the_batch(function, inputs, layers):
    model = Net(function, head=nn.Linear(8, 3), **_wrong(function, layers))
    given = {
        "model": model,
        "inputs": inputs,
        "targets": LABELS,
        "loss": lambda out, y: out.logsumexp(-1).mean() - out[..., 0].mean(),
    }
    (result,) = nnlint.check(given, select=("ARC009",)).results
    (finding,) = result.findings
    assert finding.level.value == "error"
    assert "rnn" in finding.module


@pytest.mark.parametrize(("function", "inputs", "layers"), FAULTY)
def test_the_other_way_round(function, inputs, layers):
    model = Net(function, head=nn.Linear(8, 3), **_right(function, layers))
    given = {
        "model": model,
        "inputs": inputs,
        "targets": LABELS,
        "loss": lambda out, y: out.logsumexp(-1).mean() - out[..., 0].mean(),
    }
    (result,) = nnlint.check(given, select=("ARC009",)).results
    assert not result.findings


def test_a_stack_built_on_one_line_is_one_finding():
    stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.0), 3, enable_nested_tensor=False)
    model = Net(lambda net, x: net.head(net.stack(x)[:, 0]), stack=stack, head=nn.Linear(8, 3))
    (finding,) = findings("ARC009", model, SEQUENCES, loss=F.cross_entropy, targets=LABELS)
    assert finding.module == "stack.layers.0.self_attn"
    assert len(finding.evidence["layers"]) == 3


def test_as_many_steps_as_samples():
    """A map of as many columns as there are samples: the output (columns, batch, ...) may be taken for (batch, ...)."""
    model = Net(
        lambda net, x: net.head(net.rnn(net.conv(x).mean(2).permute(2, 0, 1))[0]),
        conv=conv(),
        rnn=nn.LSTM(7, 8),
        head=nn.Linear(8, 3),
    )
    images = torch.randn(6, 1, 8, 6)
    loss = lambda out, y: F.cross_entropy(out.mean(0), y)  # noqa: E731
    assert not findings("ARC009", model, images, loss=loss, targets=LABELS)


def test_as_many_words_as_the_loader_has_samples():
    """Time-major words, as many as the batch size says: nothing is claimed above info."""
    words = torch.randint(0, 20, (6, 6))
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(words, words), batch_size=6)
    model = Net(
        lambda net, x: net.head(net.rnn(net.embed(x))[0]),
        embed=nn.Embedding(20, 8),
        rnn=nn.GRU(8, 8),
        head=nn.Linear(8, 20),
    )
    given = {"model": model, "data": data, "loss": lambda out, y: F.cross_entropy(out.flatten(0, 1), y.flatten())}
    (result,) = nnlint.check(given, select=("ARC009",)).results
    assert all(item.level.value == "info" for item in result.findings)
