"""NRM005 extreme-dropout: dropout with a probability that leaves almost nothing, or has no effect at all."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, features, findings, places
from tests.rules.normalization.dropout_settings import mlp


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
