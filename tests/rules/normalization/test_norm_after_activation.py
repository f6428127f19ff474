"""NRM002 norm-after-activation: A layer, its activation, and only then the batch norm."""

from __future__ import annotations

import pytest
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, findings, images, places


def test_norm_behind_a_functional_activation_of_its_layer() -> None:
    model = Net(
        lambda m, x: m.norm2(F.relu(m.conv2(m.norm1(m.conv1(x).relu_())))).mean(dim=(2, 3)),
        conv1=nn.Conv2d(3, 8, 3),
        norm1=nn.BatchNorm2d(8),
        conv2=nn.Conv2d(8, 8, 3),
        norm2=nn.BatchNorm2d(8),
    )
    reported = findings("NRM002", model, images())
    assert places(reported) == [("info", "norm1")]
    assert "norm2" in reported[0].modules


class PreActivation(nn.Module):
    """A stem and a pre-activation residual block."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm1, self.conv1 = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1)
        self.norm2, self.conv2 = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        x = self.stem(x)
        return x + self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))


@pytest.mark.parametrize(
    "model",
    [
        PreActivation(),
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()),
        nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 8, 3)),
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.GroupNorm(2, 8)),
    ],
    ids=["pre-activation", "usual order", "no layer before", "group norm"],
)
def test_other_orders_are_silent(model) -> None:
    assert findings("NRM002", model, images()) == []
