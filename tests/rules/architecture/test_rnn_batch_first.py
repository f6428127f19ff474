"""ARC009 rnn-batch-first: a recurrent layer reads the batch as time."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.rules.architecture.dependence import found, ids, rand


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def last(net, x):
    out = net.rnn(x)
    return net.fc((out[0] if isinstance(out, tuple) else out)[:, -1])


@pytest.mark.parametrize(
    "rnn",
    [nn.LSTM(8, 8), nn.GRU(8, 8, 2), nn.RNN(8, 8, bidirectional=False)],
    ids=["LSTM", "GRU", "RNN"],
)
def test_recurrent_layers_along_the_batch(rnn) -> None:
    items = found(last, rand(16, 6, 8), targets=ids(16, high=5), rnn=rnn, fc=nn.Linear(8, 5))
    assert set(items) == {("ARC009", "error")}
    assert items["ARC009", "error"].module == "rnn"


def test_attention_along_the_batch() -> None:
    def attend(net, x):
        return net.fc(net.attention(x, x, x)[0].mean(1))

    items = found(
        attend, rand(16, 6, 8), targets=ids(16, high=5), attention=nn.MultiheadAttention(8, 2), fc=nn.Linear(8, 5)
    )
    assert items["ARC009", "error"].module == "attention"


def test_decoder_layers_along_the_batch() -> None:
    layer = nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0)

    def decode(net, x):
        return net.fc(net.layer(x, x)[:, 0])

    items = found(decode, rand(16, 6, 8), targets=ids(16, high=5), layer=layer, fc=nn.Linear(8, 5))
    assert items["ARC009", "error"].module == "layer.self_attn"


def transposed_attention(net, x):
    x = x.transpose(0, 1)
    return net.fc(net.rnn(x, x, x)[0][-1])


@pytest.mark.parametrize(
    ("function", "inputs", "targets", "rnn"),
    [
        (last, rand(16, 6, 8), ids(16, high=5), nn.LSTM(8, 8, batch_first=True)),
        (lambda net, x: net.fc(net.rnn(x)[0][-1]), rand(6, 16, 8), ids(16, high=5), nn.LSTM(8, 8)),
        (lambda net, x: net.fc(net.rnn(x.transpose(0, 1))[0][-1]), rand(16, 6, 8), ids(16, high=5), nn.LSTM(8, 8)),
        (transposed_attention, rand(16, 6, 8), ids(16, high=5), nn.MultiheadAttention(8, 2)),
    ],
    ids=["batch first", "time-major data", "transposed", "transposed attention"],
)
def test_layouts_that_fit(function, inputs, targets, rnn) -> None:
    assert not found(function, inputs, targets=targets, rnn=rnn, fc=nn.Linear(8, 5))


def test_unknown_layout_is_an_info_and_declared_time_major_silent() -> None:
    def every(net, x):
        return net.fc(net.rnn(x)[0])

    parts = {"rnn": nn.LSTM(8, 8), "fc": nn.Linear(8, 5)}
    assert set(found(every, rand(7, 16, 8), **parts)) == {("ARC009", "info")}
    assert not found(every, rand(7, 16, 8), declared=("time-major",), **parts)


def own_loss(net, x, targets):
    """A model that returns its loss: no output has an axis of samples."""
    return F.cross_entropy(net.head(net.rnn(x)[0][:, -1]), targets)


def test_a_layer_inside_a_model_that_returns_its_loss() -> None:
    inputs = (rand(16, 1, 8).expand(16, 6, 8) + rand(16, 6, 8), ids(16, high=5))
    parts = {"loss": lambda value: value, "head": nn.Linear(12, 5)}
    wrong = found(own_loss, inputs, rnn=nn.GRU(8, 12), **parts)
    assert [(code, item.module) for (code, _), item in wrong.items()] == [("ARC009", "rnn")]
    assert found(own_loss, inputs, rnn=nn.GRU(8, 12, batch_first=True), **parts) == {}


def test_a_transposed_input_inside_a_model_that_returns_its_loss() -> None:
    def transposed(net, x, targets):
        return F.cross_entropy(net.head(net.rnn(x.transpose(0, 1))[0][-1]), targets)

    inputs = (rand(16, 6, 8), ids(16, high=5))
    assert found(transposed, inputs, loss=lambda value: value, rnn=nn.GRU(8, 12), head=nn.Linear(12, 5)) == {}
