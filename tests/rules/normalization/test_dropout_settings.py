"""NRM005, NRM014, NRM015: dropout with settings that do something else than meant."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, features, findings, images, places


def mlp(dropout: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), dropout, nn.Linear(32, 5))


@pytest.mark.parametrize(
    ("dropout", "expected"),
    [
        (nn.Dropout(0.9), [("warning", "2")]),
        (nn.Dropout(1.0), [("error", "2")]),
        (nn.Dropout(0.0), [("info", "2")]),
        (nn.Dropout(0.8), []),
        (nn.Dropout(0.7), []),
        (nn.Dropout(0.9).eval(), []),
        (Net(lambda m, x: F.dropout(x, 0.9, m.training)), [("warning", "2")]),
        (Net(lambda m, x: F.dropout(x, p=0.0)), []),
        (nn.Identity(), []),
    ],
)
def test_probability(dropout, expected) -> None:
    assert places(findings("NRM005", mlp(dropout), features())) == expected


def test_limit_is_an_option() -> None:
    import nnlint

    setup = {"model": mlp(nn.Dropout(0.7)), "inputs": features()}
    report = nnlint.check(setup, select=["NRM005"], rules={"NRM005": {"largest": 0.5}})
    assert [item.level.value for item in report.results[0].findings] == ["warning"]


def test_attention_dropout() -> None:
    model = Net(
        lambda m, x: F.scaled_dot_product_attention(m.q(x), m.k(x), x, dropout_p=0.9),
        q=nn.Linear(8, 8),
        k=nn.Linear(8, 8),
    )
    assert places(findings("NRM005", model, torch.randn(4, 6, 8))) == [("warning", "")]


def test_one_note_for_all_inert_dropouts() -> None:
    model = nn.Sequential(nn.Linear(20, 32), nn.Dropout(0), nn.Linear(32, 32), nn.Dropout(0), nn.Linear(32, 5))
    reported = findings("NRM005", model, features())
    assert places(reported) == [("info", "1")]
    assert reported[0].modules == ["3"]


TOKENS = torch.randn(4, 6, 8)


@pytest.mark.parametrize(
    ("model", "inputs", "effect"),
    [
        (nn.Sequential(nn.Linear(20, 8), nn.Dropout1d(0.2)), features(), "whole samples"),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout3d(0.2)), images(), "whole samples"),
        (nn.Sequential(nn.Linear(8, 8), nn.Dropout2d(0.2)), TOKENS, "time steps"),
        (nn.Sequential(nn.LayerNorm(8), nn.Dropout2d(0.2)), TOKENS, "time steps"),
        (nn.Sequential(nn.Linear(20, 8), nn.Dropout2d(0.2)), features(), "does not drop channels"),
        (Net(lambda m, x: F.dropout1d(m.fc(x), 0.2), fc=nn.Linear(20, 8)), features(), "whole samples"),
    ],
)
def test_wrong_rank(model, inputs, effect) -> None:
    reported = findings("NRM014", model, inputs)
    assert [item.level.value for item in reported] == ["warning"]
    assert effect in reported[0].message


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (nn.Sequential(nn.Conv1d(6, 8, 3), nn.Dropout1d(0.2)), TOKENS),
        (nn.Sequential(nn.Conv1d(6, 8, 3), nn.Dropout2d(0.2)), TOKENS),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout2d(0.2)), images()),
        (nn.Sequential(nn.Linear(20, 8), nn.Dropout(0.2)), features()),
        (nn.Sequential(nn.Linear(20, 8), nn.Dropout1d(0.0)), features()),
        (Net(lambda m, x: m.drop(x.transpose(1, 2).unsqueeze(-1)), drop=nn.Dropout2d(0.2)), TOKENS),
    ],
    ids=["1d", "2d on (N, C, L)", "2d", "plain", "p = 0", "spatial dropout of embeddings"],
)
def test_right_rank_is_silent(model, inputs) -> None:
    assert findings("NRM014", model, inputs) == []


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
