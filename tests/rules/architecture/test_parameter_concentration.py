"""ARC015 parameter-concentration: one dense layer after a flatten holds nearly all parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnlint.testing import findings, levels
from tests.rules.architecture.windows import IMAGE


def test_a_dense_layer_behind_a_flattened_map():
    model = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.Flatten(), nn.Linear(64 * 256, 100))
    assert levels("ARC015", model, IMAGE) == {"2": "warning"}


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.Flatten(), nn.Linear(64 * 256, 20)), IMAGE),
        (nn.Sequential(nn.Flatten(), nn.Linear(768, 2000)), IMAGE),
        (nn.Sequential(nn.Embedding(20_000, 64), nn.Linear(64, 5)), torch.randint(0, 9, (2, 4))),
        (nn.Sequential(nn.Embedding(10, 64), nn.Linear(64, 20_000)), torch.randint(0, 9, (2, 4))),
        (nn.EmbeddingBag(20_000, 64), torch.randint(0, 9, (2, 4))),
    ],
    ids=["small", "wide output", "embedding", "language-model head", "bag"],
)
def test_where_else_parameters_are_many(model, inputs):
    assert not findings("ARC015", model, inputs)
