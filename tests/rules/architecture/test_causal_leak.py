"""ARC018 causal-leak: outputs at a time see inputs after it, though they predict them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.rules.architecture.dependence import attend, found, rand, report


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


FUTURE = torch.ones(10, 10, dtype=torch.bool).triu(1)


def test_a_leak_is_an_error_only_where_causality_is_declared() -> None:
    items = found(attend, rand(16, 10, 8), causal=True, fc=nn.Linear(8, 5))
    assert "softmax" in items["ARC018", "error"].message
    assert not any(code == "ARC018" for code, _ in found(attend, rand(16, 10, 8), fc=nn.Linear(8, 5)))


@pytest.mark.parametrize("mask", [FUTURE.t(), FUTURE.triu(2), FUTURE & ~torch.eye(10, dtype=torch.bool).roll(1, 1)])
def test_wrong_masks(mask) -> None:
    mask = mask & ~torch.eye(10, dtype=torch.bool)
    assert ("ARC018", "error") in found(
        lambda net, x: attend(net, x, mask), rand(16, 10, 8), causal=True, fc=nn.Linear(8, 5)
    )


def test_the_right_mask() -> None:
    assert not found(lambda net, x: attend(net, x, FUTURE), rand(16, 10, 8), causal=True, fc=nn.Linear(8, 5))


def test_without_a_time_axis_it_is_skipped() -> None:
    result = report(lambda net, x: net.fc(x), rand(16, 8), causal=True, fc=nn.Linear(8, 5))
    assert "ARC018" in {item.code for item in result.skipped}
