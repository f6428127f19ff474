"""SIG005 exploding-signal: the scale of the pre-activations grows geometrically from layer to layer."""

from __future__ import annotations

import pytest
from torch import nn

from tests.rules.signal.scale import Residual, Stack, check, scaled


@pytest.mark.parametrize(
    ("gain", "depth", "expected"),
    [
        (1.0, 12, []),
        (0.4, 12, [("SIG004", "warning")]),
        (0.1, 6, [("SIG004", "warning")]),
        (0.8, 12, []),
        (0.4, 3, []),
        (2.0, 12, [("SIG005", "warning")]),
        (1.3, 12, []),
        (8.0, 8, [("SIG005", "error")]),
        (1e8, 8, [("SIG005", "error")]),
    ],
)
def test_plain_stack(gain, depth, expected) -> None:
    assert check(Stack(scaled(gain), depth)) == expected


@pytest.mark.parametrize(("start", "expected"), [(1e-4, []), (1.0, [("SIG005", "warning")])])
def test_a_small_signal_that_comes_up_to_order_one_does_not_explode(start, expected) -> None:
    model = Stack(scaled(2.0), 12)
    nn.init.normal_(model.stem.weight, std=start / 4)
    nn.init.zeros_(model.stem.bias)
    assert check(model) == expected


def test_residual_growth() -> None:
    grown = Stack(lambda: Residual(scaled(2.0)()), 16)
    assert check(grown) == [("SIG005", "warning")]
    normalized = Stack(lambda: Residual(scaled(2.0)()), 16, head=nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 5)))
    assert check(normalized) == []
