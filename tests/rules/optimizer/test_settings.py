"""OPT006 to OPT012: the optimizer's settings and its schedule."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

import nnlint


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))


def check(code, model, optimizer, **parts):
    setup = {"model": model, "inputs": torch.randn(8, 8), "optimizer": optimizer, **parts}
    report = nnlint.check(setup, select=[code]).results[0]
    assert report.skipped == []
    return report.findings


def levels(*args, **parts):
    return [item.level.value for item in check(*args, **parts)]


def test_decayed_norms_and_biases() -> None:
    model = net()
    (finding,) = check("OPT006", model, torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-4))
    assert finding.level.value == "info"
    assert set(finding.evidence["parameters"]) == {"0.bias", "1.weight", "1.bias", "3.bias"}


def test_decay_of_matrices_only_is_silent() -> None:
    model = net()
    matrices = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    assert levels("OPT006", model, torch.optim.AdamW(groups)) == []
    assert levels("OPT006", model, torch.optim.AdamW(model.parameters())) == []
    assert levels("OPT006", model, torch.optim.SGD(model.parameters())) == []


@pytest.mark.parametrize(
    ("make", "fires"),
    [
        (lambda p: torch.optim.Adam(p, weight_decay=1e-4), True),
        (lambda p: torch.optim.NAdam(p, weight_decay=1e-4), True),
        (lambda p: torch.optim.NAdam(p, weight_decay=1e-4, decoupled_weight_decay=True), False),
        (torch.optim.Adam, False),
        (lambda p: torch.optim.AdamW(p, weight_decay=0.1), False),
        (lambda p: torch.optim.SGD(p, weight_decay=1e-4), False),
    ],
    ids=["Adam", "NAdam", "NAdam decoupled", "no decay", "AdamW", "SGD"],
)
def test_adam_with_l2(make, fires) -> None:
    model = net()
    assert levels("OPT007", model, make(model.parameters())) == (["info"] if fires else [])


@pytest.mark.parametrize(
    ("dtype", "eps", "fires"),
    [
        (torch.float32, 1e-8, False),
        (torch.float32, 1e-15, False),
        (torch.float32, 0.0, True),
        (torch.float16, 1e-8, True),
        (torch.float16, 1e-4, False),
        (torch.bfloat16, 1e-8, False),
        (torch.float64, 1e-60, False),
    ],
)
def test_epsilon(dtype, eps, fires) -> None:
    model = nn.Linear(8, 4).to(dtype)
    optimizer = torch.optim.Adam(model.parameters(), eps=eps)
    report = nnlint.check(
        {"model": model, "inputs": torch.randn(8, 8, dtype=dtype), "optimizer": optimizer}, select=["OPT008"]
    )
    assert [item.level.value for item in report.results[0].findings] == (["warning"] if fires else [])


def test_optimizers_without_epsilon_are_silent() -> None:
    model = net()
    assert levels("OPT008", model, torch.optim.SGD(model.parameters())) == []


@pytest.mark.parametrize(
    ("make", "fires"),
    [
        (torch.optim.Adam, False),
        (lambda p: torch.optim.Adam(p, betas=(0.5, 0.999)), False),
        (lambda p: torch.optim.Adam(p, betas=(0.0, 0.9)), False),
        (lambda p: torch.optim.AdamW(p, betas=(0.9, 0.95)), False),
        (lambda p: torch.optim.Adam(p, betas=(0.999, 0.9)), True),
        (lambda p: torch.optim.Adam(p, betas=(0.995, 0.999)), True),
        (lambda p: torch.optim.Adam(p, betas=(0.1, 0.2)), True),
        (lambda p: torch.optim.SGD(p, momentum=0.9), False),
        (lambda p: torch.optim.SGD(p, momentum=0.99), False),
        (torch.optim.SGD, False),
        (lambda p: torch.optim.SGD(p, momentum=0.999), True),
        (lambda p: torch.optim.SGD(p, momentum=9.0), True),
    ],
)
def test_momentum(make, fires) -> None:
    model = net()
    assert levels("OPT010", model, make(model.parameters())) == (["warning"] if fires else [])


def test_the_same_fault_in_every_group_is_one_finding() -> None:
    model = net()
    groups = [{"params": model[0].parameters()}, {"params": model[3].parameters()}]
    assert levels("OPT010", model, torch.optim.SGD(groups, lr=0.1, momentum=0.999)) == ["warning"]


def test_frozen_in_optimizer() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters())
    assert levels("OPT011", model, optimizer) == []
    model[0].requires_grad_(False)
    (finding,) = check("OPT011", model, optimizer)
    assert (finding.level.value, finding.evidence["parameters"]) == ("info", ["0.weight", "0.bias"])


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
