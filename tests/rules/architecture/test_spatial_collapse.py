"""ARC014 spatial-collapse: convolutions whose kernels are larger than the feature map that reaches them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnlint.testing import findings, levels
from tests.rules.architecture.windows import IMAGE


def pooled(times, kernel=3):
    layers = [nn.MaxPool2d(2) for _ in range(times)]
    return nn.Sequential(*layers, nn.Conv2d(3, 4, kernel, padding=kernel // 2))


@pytest.mark.parametrize(
    "model",
    [pooled(4), pooled(3, 5), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 4, 3, padding="same"))],
    ids=["1 x 1", "5 x 5 on 2 x 2", "same padding"],
)
def test_kernels_on_padding(model):
    (finding,) = findings("ARC014", model, IMAGE)
    assert finding.level.value == "warning"
    assert finding.evidence["dead_share"] > 0.5


@pytest.mark.parametrize(
    "model",
    [
        pooled(2),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 4, 1), nn.ReLU()),
        nn.Conv2d(3, 4, 16),
        nn.Conv2d(3, 4, 3, padding=6, dilation=6),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 2)),
    ],
    ids=["4 x 4", "squeeze-excite", "kernel of the image's size", "dilated", "global pooling"],
)
def test_kernels_on_input(model):
    assert not findings("ARC014", model, IMAGE)


def test_a_wide_kernel_on_a_short_sequence_is_an_info():
    assert levels("ARC014", nn.Conv1d(3, 4, 129, padding=64), torch.randn(2, 3, 10)) == {"": "info"}


def test_a_depthwise_kernel_among_wide_layers_is_an_info():
    block = [nn.Conv2d(64, 64, 7, padding=3, groups=64), nn.Conv2d(64, 512, 1), nn.ReLU(), nn.Conv2d(512, 64, 1)]
    assert set(
        levels("ARC014", nn.Sequential(nn.AdaptiveAvgPool2d(2), *block), torch.randn(2, 64, 16, 16)).values()
    ) == {"info"}


def test_layers_behind_the_first_are_in_the_same_finding():
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 4, 3, 1, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 1, 1))
    (finding,) = findings("ARC014", model, IMAGE)
    assert (finding.module, finding.modules) == ("1", ["3"])
