"""OPT005 zero-learning-rate: the learning rate is zero or negative, or the optimizer maximizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import nnlint
from tests.rules.optimizer.parameters import check, net, sgd


@pytest.mark.parametrize(("lr", "expected"), [(0.0, [("error", "")]), (1e-8, []), (0.1, [])])
def test_rate(lr, expected) -> None:
    model = net()
    assert check("OPT005", model, sgd(model.parameters(), lr=lr)) == expected


def test_negative_rate() -> None:
    model = net()
    optimizer = sgd(model.parameters())
    optimizer.param_groups[0]["lr"] = -0.1
    assert check("OPT005", model, optimizer) == [("error", "")]


def test_maximize() -> None:
    model = net()
    assert check("OPT005", model, sgd(model.parameters(), maximize=True)) == [("error", "")]


def test_one_group_at_zero_is_a_warning() -> None:
    model = net()
    groups = [{"params": model[0].parameters(), "lr": 0.0}, {"params": model[2].parameters()}]
    assert check("OPT005", model, sgd(groups)) == [("warning", "")]


def test_warm_up_is_silent() -> None:
    model = net()
    optimizer = sgd(model.parameters())
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 100))
    assert optimizer.param_groups[0]["lr"] == 0.0
    assert check("OPT005", model, optimizer, scheduler=scheduler) == []


def test_an_objective_is_maximized_on_purpose() -> None:
    model = nn.Linear(4, 3)
    batch = {"inputs": torch.randn(12, 4), "targets": torch.arange(12) % 3}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, maximize=True)

    def levels(loss: Any) -> list[str]:
        report = nnlint.check({"model": model, "loss": loss, "optimizer": optimizer, **batch}, select=["OPT005"])
        return [found.level.value for found in report.results[0].findings]

    assert levels(lambda o, y: o.log_softmax(1).gather(1, y[:, None]).mean()) == []
    assert levels(nn.CrossEntropyLoss()) == ["error"]
    assert levels(lambda o, _: o.sigmoid().mean()) == ["info"]
