"""OPT004 learning-rate-too-low: A learning rate at which the weights practically stay where they are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.rules.optimizer.learning_rates import found, mlp, sgd


def test_updates_that_change_nothing():
    model = mlp()
    ((level, message),) = found("OPT004", model, torch.optim.Adam(model.parameters(), lr=1e-9))
    assert level == "warning"
    assert "limit 1e-06" in message


@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 1000 * 1e6),
        lambda optimizer: torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1e-3, total_iters=20),
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=100, div_factor=1e6),
        lambda optimizer: torch.optim.lr_scheduler.SequentialLR(
            optimizer,
            [
                torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1e-3, total_iters=10),
                torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 90),
            ],
            milestones=[10],
        ),
    ],
    ids=["lambda", "linear", "one cycle", "sequential"],
)
@pytest.mark.parametrize("probes", [(), ("lr-range",)], ids=["steps", "deep"])
def test_a_warm_up_starts_low(make, probes):
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-9)
    assert found("OPT004", model, optimizer, scheduler=make(optimizer), probes=probes) == []


def test_a_schedule_that_only_falls_is_no_excuse():
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
    assert len(found("OPT004", model, optimizer, scheduler=scheduler)) == 1


@pytest.mark.parametrize(("rate", "levels"), [(1e-7, ["warning"]), (2e-6, ["info"]), (1e-4, [])])
def test_the_range_test_says_how_long_it_would_take(rate, levels):
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    assert [level for level, _ in found("OPT004", model, optimizer, probes=("lr-range",))] == levels


def test_a_rate_of_zero_and_a_dead_net_are_other_rules():
    model = mlp()
    assert found("OPT004", model, sgd(model, lr=0.0)) == []
    dead = mlp()
    nn.init.constant_(dead[0].bias, -100.0)
    dead[-1].bias.requires_grad_(False)
    dead[2].bias.requires_grad_(False)
    assert found("OPT004", dead, sgd(dead)) == []
