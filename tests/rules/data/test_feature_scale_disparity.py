"""DAT005 feature-scale-disparity: the features of a table differ in scale by more than a factor of 1000."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.rules.data.values import TABLE, changed, check, flat


@pytest.mark.parametrize(
    ("scales", "fires"), [([1.0] * 12, False), ([1.0] * 11 + [500.0], False), ([0.01] + [1.0] * 10 + [500.0], True)]
)
def test_scale_disparity(scales, fires) -> None:
    inputs = TABLE * torch.tensor(scales)
    assert check("DAT005", flat(), inputs) == (["warning"] if fires else [])
    normalized = nn.Sequential(nn.BatchNorm1d(12), nn.Linear(12, 4))
    assert check("DAT005", normalized, inputs) == []


def test_constant_columns_do_not_count_as_small() -> None:
    assert check("DAT005", flat(), changed(TABLE, (slice(None), 4), 3.7)) == []
