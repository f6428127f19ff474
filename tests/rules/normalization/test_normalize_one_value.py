"""NRM008 normalize-one-value: A normalization whose mean and variance are those of one number."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, features, findings, images
from tests.rules.normalization.batch_norm_settings import POINTS


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (nn.GroupNorm(20, 20), features()),
        (nn.GroupNorm(8, 8), POINTS),
        (nn.LayerNorm(1), features().unsqueeze(-1)),
        (nn.RMSNorm(1), features().unsqueeze(-1)),
        (Net(lambda m, x: F.normalize(x, dim=1)), features(width=1)),
        (Net(lambda m, x: F.group_norm(x, 20)), features()),
        (Net(lambda m, x: torch.instance_norm(x, None, None, None, None, True, 0.1, 1e-5, False)), POINTS),
    ],
    ids=["group norm", "on one position", "layer norm", "rms norm", "normalize", "function", "instance norm"],
)
def test_one_value(model, inputs) -> None:
    reported = findings("NRM008", nn.Sequential(model), inputs)
    assert [item.level.value for item in reported] == ["error"]


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (nn.GroupNorm(10, 20), features()),
        (nn.GroupNorm(8, 8), images(channels=8)),
        (nn.LayerNorm(20), features()),
        (nn.BatchNorm2d(8), POINTS),
        (nn.BatchNorm1d(20).eval(), features(samples=1)),
        (nn.InstanceNorm2d(3), images()),
        (Net(lambda m, x: F.normalize(x, dim=1)), features()),
    ],
    ids=["two a group", "positions", "layer norm", "batch of one position", "eval mode", "instance norm", "normalize"],
)
def test_several_values_are_silent(model, inputs) -> None:
    assert findings("NRM008", nn.Sequential(model), inputs) == []
