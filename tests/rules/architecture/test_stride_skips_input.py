"""ARC013 stride-skips-input: A convolution or pooling whose stride is larger than what its kernel reads."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nnlint
from nnlint.testing import Net, findings
from tests.rules.architecture.windows import IMAGE

SIGNAL = torch.randn(2, 3, 64)


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
