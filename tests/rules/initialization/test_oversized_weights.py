"""INI003 oversized-weights: weights ten times the He scale or more, with activations that grow through the layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import checked, features, findings, images, labels, places
from tests.rules.initialization.weight_scale import deep, he


def test_oversized() -> None:
    model = deep(2, width=512)
    nn.init.normal_(model[2].weight)
    assert places(findings("INI003", model, features(), labels())) == [("error", "2")]


def test_oversized_by_their_mean() -> None:
    model = deep(2, width=512)
    nn.init.uniform_(model[2].weight, 0.0, 0.2)
    # Weights of one sign: 0.1 x 512 inputs, 36 times the He gain although the deviation is small.
    report = checked("INI003", model, features(), labels())
    assert places(report.findings) == [("error", "2")]


def one_hot() -> torch.Tensor:
    return F.one_hot(torch.arange(64) % 512, 512).float()


def scaled_at_run_time() -> nn.Module:
    class Equalized(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(512, 512))

        def forward(self, x):
            return F.linear(x, self.weight * 512**-0.5)

    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 512), nn.ReLU(), Equalized(), nn.ReLU(), nn.Linear(512, 5))


def large_before_norm() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 512), nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 5))
    nn.init.normal_(model[1].weight)
    return model


def one_hot_net() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 5))
    nn.init.normal_(model[0].weight)
    return model


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (deep(4), features()),
        (deep(4, init=he), features()),
        (one_hot_net(), one_hot()),
        (scaled_at_run_time(), features()),
        (large_before_norm(), features()),
        (nn.Sequential(nn.Embedding(50, 64), nn.Flatten(), nn.Linear(384, 5)), torch.randint(0, 50, (64, 6))),
    ],
    ids=["default", "he", "one-hot inputs", "scaled at run time", "before a norm", "embedding"],
)
def test_not_oversized(model, inputs) -> None:
    assert findings("INI003", model, inputs, labels()) == []


def test_convolutions_count_their_fan_with_the_kernel() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4096, 5)
    )
    assert findings("INI003", model, images(8), labels(8)) == []
    nn.init.normal_(model[2].weight)
    assert places(findings("INI003", model, images(8), labels(8))) == [("error", "2")]
