"""DAT010 unscaled-target: regression targets with a scale or offset far above 1, under a squared error."""

from __future__ import annotations

import pytest
from torch import nn

from tests.rules.data.dataset import INPUTS, check, net


@pytest.mark.parametrize(
    ("targets", "fires"),
    [(INPUTS[:, :1], False), (INPUTS[:, :1] * 4 + 5, False), (INPUTS[:, :1] * 100, True), (INPUTS[:, :1] + 500, True)],
    ids=["standard", "small", "wide", "far"],
)
def test_unscaled_target(targets, fires) -> None:
    expected = ["warning"] if fires else []
    assert check("DAT010", model=net(1), loss=nn.MSELoss(), inputs=INPUTS, targets=targets) == expected
    assert check("DAT010", model=net(1), loss=nn.L1Loss(), inputs=INPUTS, targets=targets) == []


def test_output_scaled_by_the_model_is_silent() -> None:
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net(1)

        def forward(self, x):
            return self.net(x) * 100 + 500

    assert check("DAT010", model=Scaled(), loss=nn.MSELoss(), inputs=INPUTS, targets=INPUTS[:, :1] * 100 + 500) == []
