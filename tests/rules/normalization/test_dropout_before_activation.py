"""NRM003 dropout-before-activation: dropout between a layer and its activation."""

from __future__ import annotations

import pytest
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, features, findings, places


@pytest.mark.parametrize(
    ("activation", "same"), [(nn.Tanh(), False), (nn.GELU(), False), (nn.ReLU(), True), (nn.LeakyReLU(), True)]
)
def test_dropout_before_an_activation(activation, same) -> None:
    model = nn.Sequential(nn.Linear(20, 32), nn.Dropout(0.3), activation, nn.Linear(32, 5))
    reported = findings("NRM003", model, features())
    assert places(reported) == [("info", "1")]
    assert reported[0].evidence["same_values"] is same


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Dropout(0.3), nn.Linear(32, 5), nn.Tanh()),
        nn.Sequential(nn.Dropout(0.3), nn.Tanh(), nn.Linear(20, 5)),
        nn.Sequential(nn.Linear(20, 32), nn.Dropout(0.0), nn.Tanh(), nn.Linear(32, 5)),
        nn.Sequential(nn.Linear(20, 32), nn.AlphaDropout(0.1), nn.SELU(), nn.Linear(32, 5)),
        Net(lambda m, x: F.dropout(m.fc(x), 0.5, training=False).tanh(), fc=nn.Linear(20, 5)),
        Net(lambda m, x: F.dropout(m.fc(x).softmax(-1), 0.5), fc=nn.Linear(20, 5)),
    ],
    ids=["usual order", "on the input", "p = 0", "alpha dropout", "never in training", "attention-like"],
)
def test_dropout_elsewhere_is_silent(model) -> None:
    assert findings("NRM003", model, features()) == []
