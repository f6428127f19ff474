"""ARC013, ARC014 and ARC015: what kernels read, and what a flattening costs."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nnlint
from nnlint.testing import Net, findings, levels

SIGNAL = torch.randn(2, 3, 64)
IMAGE = torch.randn(2, 3, 16, 16)


@pytest.mark.parametrize(
    ("layer", "inputs", "share"),
    [
        (nn.Conv1d(3, 4, 3, stride=8), SIGNAL, 3 / 8),
        (nn.Conv1d(3, 4, 2, stride=2, dilation=2), SIGNAL, 1 / 2),
        (nn.Conv2d(3, 4, 1, stride=2), IMAGE, 1 / 4),
        (nn.Conv2d(3, 4, (3, 2), stride=(3, 4)), IMAGE, 1 / 2),
        (nn.AvgPool2d(2, stride=3), IMAGE, 4 / 9),
        (nn.MaxPool1d(2, stride=4), SIGNAL, 1 / 2),
        (Net(lambda net, x: F.conv1d(x, net.w, stride=4), w=nn.Parameter(torch.randn(4, 3, 3))), SIGNAL, 3 / 4),
    ],
)
def test_windows_that_step_over_input(layer, inputs, share):
    (finding,) = findings("ARC013", layer, inputs)
    assert finding.level.value == "warning"
    assert finding.evidence["share_read"] == pytest.approx(share)


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(*(nn.Conv1d(3, 3, 3, stride=4) for _ in range(2)))
        self.last = nn.Conv1d(3, 3, 3, stride=4)

    def forward(self, x):
        return self.last(self.blocks(x))


def test_layers_of_one_line_are_one_finding():
    def build():
        return {"model": Blocks(), "inputs": torch.randn(2, 3, 400)}

    blocks, last = nnlint.check(build, select=["ARC013"]).findings
    assert blocks.message.endswith("; likewise blocks.1 (Conv1d)")
    assert (blocks.module, blocks.modules) == ("blocks.0", ["blocks.1"])
    assert last.module == "last"


def shortcut(net, x):
    return net.down(x) + net.second(net.first(x).relu())


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (nn.Conv1d(3, 4, 8, stride=8), SIGNAL),
        (nn.Conv1d(3, 4, 3, stride=2), SIGNAL),
        (nn.MaxPool2d(3, stride=2), IMAGE),
        (nn.MaxPool2d(1, stride=2), IMAGE),
        (nn.Conv1d(3, 4, 3, stride=100), SIGNAL),
        (nn.ConvTranspose2d(3, 4, 2, stride=4), IMAGE),
        (nn.AdaptiveAvgPool2d(2), IMAGE),
        (
            Net(
                shortcut,
                down=nn.Conv2d(3, 4, 1, stride=2), first=nn.Conv2d(3, 4, 1, stride=2), second=nn.Conv2d(4, 4, 3, padding=1),
            ),
            IMAGE,
        ),
    ],
    ids=["patches", "overlap", "pool", "one-position pool", "one window", "transposed", "adaptive", "residual block"],
)  # fmt: skip
def test_windows_that_read_all_or_subsample_on_purpose(layer, inputs):
    assert not findings("ARC013", nn.Sequential(layer, nn.Identity()), inputs)


def test_declared_subsampling():
    assert not findings("ARC013", nn.Conv1d(3, 4, 3, stride=8), SIGNAL, declared={"subsampling"})


# ------------------------------------------------------------------ ARC014


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


# ------------------------------------------------------------------ ARC015


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
