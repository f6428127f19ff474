"""INI006 duplicate-units: two or more rows (units, filters) of a fresh weight matrix that are identical."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnlint.testing import checked, features, findings, places
from tests.rules.initialization.parameters import mlp


def repeated(model: nn.Module, *, layer: int, rows: int) -> nn.Module:
    weight = model[layer].weight.data
    weight.copy_(weight[:rows].repeat(weight.shape[0] // rows, *[1] * (weight.dim() - 1)))
    return model


def test_duplicate_units() -> None:
    reported = findings("INI006", repeated(mlp(), layer=3, rows=8), features())
    assert places(reported) == [("warning", "3")]
    assert reported[0].evidence["copies"] == 24


def depthwise() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 3))
    return repeated(model, layer=1, rows=1)


def zero_rows() -> nn.Module:
    model = mlp()
    model[3].weight.data[:4] = 0.0
    return model


def narrow() -> nn.Module:
    torch.manual_seed(0)
    return repeated(nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 5)), layer=0, rows=16)


def quantised() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 64))
    for layer in model[::2]:
        layer.weight.data = layer.weight.data.sign() * 0.1
    return repeated(model, layer=2, rows=64)


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (mlp(), features()),
        (zero_rows(), features()),
        (narrow(), features(width=1)),
        (depthwise(), torch.randn(4, 3, 12, 12)),
        (nn.Sequential(nn.Embedding(9, 4, padding_idx=0), nn.Flatten(), nn.Linear(8, 5)), torch.randint(0, 9, (8, 2))),
    ],
    ids=["random", "zero rows", "one number a row", "depthwise", "embedding"],
)
def test_no_duplicates(model, inputs) -> None:
    assert checked("INI006", model, inputs).findings == []


def test_quantised_weights_are_not_judged() -> None:
    report = checked("INI006", quantised(), features(width=64))
    assert report.findings == []
    assert "trained" in report.skipped[0].reason
