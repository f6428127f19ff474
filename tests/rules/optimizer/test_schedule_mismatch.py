"""OPT012 schedule-mismatch: the scheduler ends the training at its first step, or long before or after the planned end."""

from __future__ import annotations

import pytest
import torch
from torch.optim import lr_scheduler

from tests.rules.optimizer.settings import check, levels, net

SCHEDULES = {
    "cosine of 1": (lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=1), None, True),
    "gamma 0": (lambda o: lr_scheduler.ExponentialLR(o, gamma=0.0), None, True),
    "integer division": (lambda o: lr_scheduler.LambdaLR(o, lambda step: 1 // (step + 1)), None, True),
    "never warm": (lambda o: lr_scheduler.LambdaLR(o, lambda step: step // 100_000), None, True),
    "cosine far too long": (lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=5000), 1000, True),
    "one cycle too short": (lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=100), 1000, True),
    "one cycle": (lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=1000), 1000, False),
    "cosine in epochs": (lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=10), 1000, False),
    "warm-up": (lambda o: lr_scheduler.LambdaLR(o, lambda step: min(1.0, step / 100)), 1000, False),
    "step": (lambda o: lr_scheduler.StepLR(o, step_size=1, gamma=0.1), None, False),
    "plateau": (lr_scheduler.ReduceLROnPlateau, None, False),
    "sequential": (
        lambda o: lr_scheduler.SequentialLR(
            o,
            [lr_scheduler.LinearLR(o, 0.1, total_iters=5), lr_scheduler.CosineAnnealingLR(o, T_max=95)],
            milestones=[5],
        ),
        None,
        False,
    ),
    "chained": (
        lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.LinearLR(o), lr_scheduler.ExponentialLR(o, 0.9)]),
        None,
        False,
    ),
}


@pytest.mark.parametrize(("make", "planned", "fires"), SCHEDULES.values(), ids=SCHEDULES)
def test_schedule(make, planned, fires) -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = make(optimizer)
    before = (dict(vars(scheduler)), [dict(group) for group in optimizer.param_groups])
    parts = {"scheduler": scheduler, "planned_steps": planned}
    assert levels("OPT012", model, optimizer, **parts) == (["warning"] if fires else [])
    after = (dict(vars(scheduler)), [dict(group) for group in optimizer.param_groups])
    assert before == after


def test_scheduler_of_another_optimizer() -> None:
    model = net()
    optimizer, old = (torch.optim.SGD(model.parameters(), lr=0.1) for _ in range(2))
    (finding,) = check("OPT012", model, optimizer, scheduler=lr_scheduler.StepLR(old, 10))
    assert "another optimizer" in finding.message


HORIZONS = {
    "dict says step": (lambda o: {"scheduler": lr_scheduler.StepLR(o, 10), "interval": "step"}, 600, True),
    "dict says epoch": (lambda o: {"scheduler": lr_scheduler.StepLR(o, 10), "interval": "epoch"}, 600, False),
    "dict says nothing": (lambda o: {"scheduler": lr_scheduler.StepLR(o, 10)}, 600, False),
    "spent in three of a hundred epochs": (lambda o: lr_scheduler.LambdaLR(o, lambda t: max(0.0, 1 - t / 3)), 1000, True),
    "spent in the last epoch": (lambda o: lr_scheduler.LambdaLR(o, lambda t: max(0.0, 1 - t / 100)), 1000, False),
    "half a period in four of a hundred epochs": (lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=4), 1000, True),
    "length in steps, stepped by epoch": (
        lambda o: {"scheduler": lr_scheduler.PolynomialLR(o, 1000), "interval": "epoch"},
        1000,
        True,
    ),
}


@pytest.mark.parametrize(("make", "planned", "fires"), HORIZONS.values(), ids=HORIZONS)
def test_schedule_beside_the_batches_of_an_epoch(make, planned, fires) -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(80, 8), torch.randint(0, 4, (80,))), 8)
    parts = {"scheduler": make(optimizer), "planned_steps": planned, "data": loader}
    assert levels("OPT012", model, optimizer, **parts) == (["warning"] if fires else [])
