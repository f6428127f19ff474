"""NRM015 inert-rnn-dropout: the dropout argument of an LSTM, GRU or RNN that has one layer."""

from __future__ import annotations

import warnings

import pytest
from torch import nn

from nnlint.testing import Net, features, findings, places
from tests.rules.normalization.dropout_settings import TOKENS, mlp


def rnn(kind: type[nn.RNNBase], layers: int, dropout: float) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of it too
        layer = kind(8, 16, num_layers=layers, dropout=dropout, batch_first=True)
    return Net(lambda m, x: m.rnn(x)[0], rnn=layer)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_dropout_of_a_single_recurrent_layer(kind) -> None:
    assert places(findings("NRM015", rnn(kind, 1, 0.5), TOKENS)) == [("warning", "rnn")]


@pytest.mark.parametrize(
    "model", [rnn(nn.LSTM, 2, 0.5), rnn(nn.LSTM, 1, 0.0), mlp(nn.Dropout(0.5))], ids=["two", "none", "no rnn"]
)
def test_other_recurrent_layers_are_silent(model) -> None:
    inputs = features() if isinstance(model, nn.Sequential) else TOKENS
    assert findings("NRM015", model, inputs) == []
