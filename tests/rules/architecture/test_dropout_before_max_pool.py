"""ARC023 dropout-before-max-pool: dropout feeding a max pooling."""

from __future__ import annotations

import pytest
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, findings
from tests.rules.architecture.small_rules import IMAGE


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Dropout(0.5), nn.MaxPool2d(2)),
        (nn.Dropout(0.5), nn.ReLU(), nn.MaxPool2d(2)),
        (Net(lambda net, x: F.max_pool2d(F.dropout(x, 0.3, net.training), 2)),),
        (nn.Dropout(0.2), nn.AdaptiveMaxPool2d(1)),
    ],
)
def test_dropout_into_a_maximum(layers):
    (finding,) = findings("ARC023", nn.Sequential(nn.Conv2d(3, 4, 3), *layers), IMAGE)
    assert finding.level.value == "warning"


@pytest.mark.parametrize(
    "layers",
    [
        (nn.MaxPool2d(2), nn.Dropout(0.5)),
        (nn.Dropout(0.5), nn.AvgPool2d(2)),
        (nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1)),
        (nn.Dropout2d(0.5), nn.MaxPool2d(2)),
        (nn.Dropout(0.0), nn.MaxPool2d(2)),
        (nn.Dropout(0.5), nn.Conv2d(4, 4, 3), nn.MaxPool2d(2)),
        (Net(lambda net, x: F.max_pool2d(F.dropout(x, 0.5, training=False), 2)),),
    ],
)
def test_dropout_that_keeps_the_mean(layers):
    assert not findings("ARC023", nn.Sequential(nn.Conv2d(3, 4, 3), *layers), IMAGE)
