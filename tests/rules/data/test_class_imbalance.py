"""DAT004 class-imbalance: the largest class has more than ten times the samples of the smallest, and the loss does not know."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import (
    WeightedRandomSampler,
)

from tests.rules.data.dataset import BALANCED, INPUTS, SKEWED, check, loader, net, report


@pytest.mark.parametrize(
    ("labels", "fires"), [(BALANCED, False), (SKEWED, True), (torch.where(torch.arange(512) % 6 > 0, 0, 1), False)]
)
@pytest.mark.parametrize("shuffle", [False, True])
def test_imbalance(labels, fires, shuffle) -> None:
    assert check("DAT004", data=loader(labels, shuffle=shuffle)) == (["warning"] if fires else [])


def test_weights_in_the_loss_are_silent() -> None:
    weights = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 19.0, 1.0, 1.0]))
    assert check("DAT004", loss=weights, data=loader(SKEWED)) == []
    binary = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([19.0]))
    assert check("DAT004", model=net(1), loss=binary, data=loader(SKEWED.float()[:, None])) == []
    assert check("DAT004", model=net(1), loss=nn.BCEWithLogitsLoss(), data=loader(SKEWED.float()[:, None])) == [
        "warning"
    ]


def test_balancing_sampler_is_silent() -> None:
    weights = torch.where(SKEWED == 0, 1.0, 19.0)
    assert check("DAT004", data=loader(SKEWED, sampler=WeightedRandomSampler(weights, 512))) == []


def test_regression_and_dense_targets_are_silent() -> None:
    assert check("DAT004", model=net(1), loss=nn.MSELoss(), data=loader(torch.randn(512, 1))) == []
    dense = nn.Sequential(nn.Linear(12, 12), nn.Unflatten(1, (3, 4)))
    labels = torch.zeros(512, 4, dtype=torch.long)
    labels[0] = 1
    assert check("DAT004", model=dense, data=loader(labels)) == []


def test_few_samples_are_a_skip() -> None:
    made = report("DAT004", inputs=INPUTS[:32], targets=SKEWED[:32])
    assert "labels, got" in made.skipped[0].reason
