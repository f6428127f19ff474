"""NRM004: a bias is redundant only where all that a layer gives is centered channel by channel."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnlint.testing import Net, features, findings, images, places


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)), images()),
        (nn.Sequential(nn.ConvTranspose2d(3, 8, 3), nn.BatchNorm2d(8)), images()),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8)), images()),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, affine=False)), images()),
        (nn.Sequential(nn.Linear(20, 8), nn.BatchNorm1d(8)), features()),
        (nn.Sequential(nn.Linear(20, 8), nn.Identity(), nn.Unflatten(1, (8, 1)), nn.BatchNorm1d(8)), features()),
        (
            Net(
                lambda m, x: m.norm(nn.functional.linear(x, m.fc.weight, m.fc.bias)),
                fc=nn.Linear(20, 8),
                norm=nn.BatchNorm1d(8),
            ),
            features(),
        ),
    ],
    ids=["conv", "transposed", "instance norm", "no affine", "linear", "view between", "functional"],
)
def test_redundant(model, inputs) -> None:
    reported = findings("NRM004", model, inputs)
    assert [level for level, _ in places(reported)] == ["info"]
    assert reported[0].evidence["parameters"] == 8


class Skip(nn.Module):
    """The output of the convolution goes around the norm as well."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)

    def forward(self, x):
        x = self.conv(x)
        return x + self.norm(x)


class Shared(nn.Module):
    """One layer, normalized in one place and not in the other."""

    def __init__(self):
        super().__init__()
        self.fc, self.norm = nn.Linear(20, 20), nn.BatchNorm1d(20)

    def forward(self, x):
        return self.fc(torch.relu(self.norm(self.fc(x))))


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)), images()),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8)), images()),
        (nn.Sequential(nn.Linear(20, 8), nn.LayerNorm(8)), features()),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.BatchNorm2d(8)), images()),
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8).eval()), images()),
        (nn.Sequential(nn.Linear(20, 32), nn.Unflatten(1, (8, 2, 2)), nn.BatchNorm2d(8)), features()),
        (Skip(), images()),
        (Shared(), features()),
    ],
    ids=[
        "no bias",
        "group norm",
        "layer norm",
        "activation between",
        "frozen norm",
        "view mixes channels",
        "skip",
        "shared",
    ],
)
def test_needed_bias_is_silent(model, inputs) -> None:
    assert findings("NRM004", model, inputs) == []


def test_all_layers_in_one_finding() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4))
    reported = findings("NRM004", model, images())
    assert places(reported) == [("info", "0")]
    assert reported[0].modules == ["3"]
    assert reported[0].evidence["parameters"] == 12


def test_output_of_the_layer_returned_as_well() -> None:
    def forward(m, x):
        y = m.conv(x)
        return y, m.norm(y)

    model = Net(forward, conv=nn.Conv2d(3, 8, 3), norm=nn.BatchNorm2d(8))
    assert findings("NRM004", model, images()) == []
