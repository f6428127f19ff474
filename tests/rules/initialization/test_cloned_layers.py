"""INI007 cloned-layers: distinct layers whose random weights are identical bit for bit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nnlint.testing import features, findings, places
from tests.rules.initialization.parameters import mlp


def test_cloned_layers() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    reported = findings("INI007", model, torch.randn(4, 6, 16))
    assert [level for level, _ in places(reported)] == ["info"]
    assert reported[0].evidence["sets"] == 4


def tied() -> nn.Module:
    embedding, head = nn.Embedding(50, 16), nn.Linear(16, 50, bias=False)
    head.weight = embedding.weight
    return nn.Sequential(embedding, nn.Linear(16, 16), head)


def zeros() -> nn.Module:
    model = nn.Sequential(nn.Linear(20, 20), nn.Linear(20, 20), nn.Linear(20, 20))
    nn.init.zeros_(model[1].weight)
    nn.init.zeros_(model[2].weight)
    return model


@pytest.mark.parametrize(
    ("model", "inputs"),
    [(mlp(), features()), (tied(), torch.randint(0, 50, (4, 6))), (zeros(), features())],
    ids=["random", "tied", "constant"],
)
def test_not_cloned(model, inputs) -> None:
    assert findings("INI007", model, inputs) == []


def test_deep_copies_are_clones() -> None:
    first = nn.Linear(20, 20)
    model = nn.Sequential(first, nn.ReLU(), copy.deepcopy(first))
    assert places(findings("INI007", model, features())) == [("info", "2")]
