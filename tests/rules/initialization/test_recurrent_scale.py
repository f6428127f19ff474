"""INI010 recurrent-scale: A recurrent weight matrix with a spectral radius far from 1."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnlint.testing import Net, features, findings, places
from tests.rules.initialization.parameters import mlp


def rnn(kind: type[nn.RNNBase], init=None) -> nn.Module:
    torch.manual_seed(0)
    model = Net(lambda m, x: m.rnn(x)[0], rnn=kind(8, 32, batch_first=True))
    if init is not None:
        for gate in model.rnn.weight_hh_l0.chunk(model.rnn.weight_hh_l0.shape[0] // 32):
            init(gate)
    return model


STEPS = torch.randn(4, 6, 8)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (rnn(nn.LSTM, nn.init.normal_), [("warning", "rnn")]),
        (rnn(nn.GRU, nn.init.normal_), [("warning", "rnn")]),
        (rnn(nn.RNN, nn.init.normal_), [("warning", "rnn")]),
        (rnn(nn.RNN, lambda w: nn.init.normal_(w, std=0.005)), [("warning", "rnn")]),
        (rnn(nn.LSTM, lambda w: nn.init.normal_(w, std=0.005)), []),
        (rnn(nn.LSTM), []),
        (rnn(nn.GRU), []),
        (rnn(nn.RNN), []),
        (rnn(nn.LSTM, nn.init.orthogonal_), []),
        (rnn(nn.RNN, nn.init.eye_), []),
        (mlp(), []),
    ],
)
def test_recurrent_scale(model, expected) -> None:
    inputs = features() if isinstance(model, nn.Sequential) else STEPS
    assert places(findings("INI010", model, inputs)) == expected
