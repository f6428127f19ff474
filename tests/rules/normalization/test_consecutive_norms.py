"""NRM012 consecutive-norms: A normalization whose input is the output of another normalization."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, features, findings, places


def test_norms_in_sequence_through_a_view() -> None:
    model = Net(lambda m, x: m.b(m.a(x).reshape(-1, 20)), a=nn.LayerNorm(20), b=nn.BatchNorm1d(20))
    assert places(findings("NRM012", model, features())) == [("info", "b")]


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.LayerNorm(20), nn.Linear(20, 20), nn.LayerNorm(20)),
        nn.Sequential(nn.LayerNorm(20), nn.ReLU(), nn.LayerNorm(20)),
        Net(lambda m, x: F.normalize(m.norm(x), dim=-1), norm=nn.LayerNorm(20)),
        Net(lambda m, x: m.b(x + m.a(x)), a=nn.LayerNorm(20), b=nn.LayerNorm(20)),
        Net(lambda m, x: (y := m.a(x)) + m.fc(m.b(y)), a=nn.LayerNorm(20), b=nn.LayerNorm(20), fc=nn.Linear(20, 20)),
    ],
    ids=["layer between", "activation between", "unit length at the end", "sum between", "residual stream"],
)
def test_norms_apart_are_silent(model) -> None:
    assert findings("NRM012", model, features()) == []


def test_final_norm_behind_a_post_norm_encoder() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(16), enable_nested_tensor=False)
    assert places(findings("NRM012", model, torch.randn(4, 6, 16))) == [("info", "norm")]
