"""NRM014 wrong-dropout-rank: dropout1d, Dropout2d or Dropout3d on an input with another number of dimensions."""

from __future__ import annotations

import pytest
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, features, findings, images
from tests.rules.normalization.dropout_settings import TOKENS


@pytest.mark.parametrize(
    ("model", "inputs", "effect"),
    [
        (nn.Sequential(nn.Linear(20, 8), nn.Dropout1d(0.2)), features(), "whole samples"),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout3d(0.2)), images(), "whole samples"),
        (nn.Sequential(nn.Linear(8, 8), nn.Dropout2d(0.2)), TOKENS, "time steps"),
        (nn.Sequential(nn.LayerNorm(8), nn.Dropout2d(0.2)), TOKENS, "time steps"),
        (Net(lambda m, x: F.dropout1d(m.fc(x), 0.2), fc=nn.Linear(20, 8)), features(), "whole samples"),
        (Net(lambda m, x: m.drop(x + m.fc(x)), fc=nn.Linear(8, 8), drop=nn.Dropout2d(0.2)), TOKENS, "time steps"),
        (Net(lambda m, x: m.drop(m.rnn(x)[0]), rnn=nn.GRU(8, 9, batch_first=True), drop=nn.Dropout2d(0.2)), TOKENS, "time steps"),
        (nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Dropout2d(0.2), nn.Linear(8, 3)), TOKENS, "time steps"),
        (nn.Sequential(nn.Dropout2d(0.2), nn.Linear(8, 3)), TOKENS, "time steps"),
        (Net(lambda m, x: m.drop(m.conv(x.mT).mT), conv=nn.Conv1d(8, 9, 3, padding=1), drop=nn.Dropout2d(0.2)), TOKENS, "time steps"),
        (Net(lambda m, x: m.drop(m.attend(x, x, x)[0]), attend=nn.MultiheadAttention(8, 2, batch_first=True), drop=nn.Dropout2d(0.2)),
         TOKENS, "time steps"),
    ],
)  # fmt: skip
def test_wrong_rank(model, inputs, effect) -> None:
    reported = findings("NRM014", model, inputs)
    assert [item.level.value for item in reported] == ["warning"]
    assert effect in reported[0].message


def test_plain_dropout_under_another_name_is_an_info() -> None:
    """Dropout2d on (N, C) drops the same single values as Dropout from the same seed: nothing is lost."""
    reported = findings("NRM014", nn.Sequential(nn.Linear(20, 8), nn.Dropout2d(0.2)), features())
    assert [item.level.value for item in reported] == ["info"]
    assert "does not drop channels" in reported[0].message


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (nn.Sequential(nn.Conv1d(6, 8, 3), nn.Dropout1d(0.2)), TOKENS),
        (nn.Sequential(nn.Conv1d(6, 8, 3), nn.Dropout2d(0.2)), TOKENS),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.Dropout2d(0.2)), images()),
        (nn.Sequential(nn.Linear(20, 8), nn.Dropout(0.2)), features()),
        (nn.Sequential(nn.Linear(20, 8), nn.Dropout1d(0.0)), features()),
        (Net(lambda m, x: m.drop(x.transpose(1, 2).unsqueeze(-1)), drop=nn.Dropout2d(0.2)), TOKENS),
        (Net(lambda m, x: m.drop(m.fc(x).mT).mT, fc=nn.Linear(8, 9), drop=nn.Dropout2d(0.2)), TOKENS),
        (
            nn.Sequential(nn.Conv1d(6, 8, 3), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout2d(0.2), nn.Conv1d(8, 4, 1)),
            TOKENS,
        ),
        (
            Net(lambda m, x: m.drop(m.conv(x).relu() + x), conv=nn.Conv1d(6, 6, 3, padding=1), drop=nn.Dropout2d(0.2)),
            TOKENS,
        ),
        (nn.Sequential(nn.Dropout2d(0.2), nn.Conv1d(6, 3, 1)), TOKENS),
    ],
    ids=[
        "1d",
        "2d on (N, C, L)",
        "2d",
        "plain",
        "p = 0",
        "spatial dropout of embeddings",
        "turned round for it",
        "after norm and relu",
        "a residual of convolutions",
        "of the input of a convolution",
    ],
)
def test_right_rank_is_silent(model, inputs) -> None:
    assert findings("NRM014", model, inputs) == []
