"""OPT001, OPT002, OPT005: what the optimizer holds and how fast it moves it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import nnlint


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def check(code, model, optimizer, **parts):
    setup = {"model": model, "inputs": torch.randn(8, 8), "optimizer": optimizer, **parts}
    report = nnlint.check(setup, select=[code]).results[0]
    assert report.skipped == []
    return [(item.level.value, item.module) for item in report.findings]


def sgd(parameters, lr=0.1, **options):
    return torch.optim.SGD(parameters, lr=lr, **options)


def test_no_optimizer_is_a_skip() -> None:
    report = nnlint.check({"model": net(), "inputs": torch.randn(8, 8)}, select=["OPT001", "OPT002", "OPT005"]).results[
        0
    ]
    assert {item.reason for item in report.skipped} == {"no optimizer given"}
    assert len(report.skipped) == 3


def test_missing_layer() -> None:
    model = net()
    assert check("OPT001", model, sgd(model[0].parameters())) == [("error", "2")]


def test_layer_added_later() -> None:
    model = net()
    optimizer = sgd(model.parameters())
    model.append(nn.Linear(4, 2))
    assert check("OPT001", model, optimizer) == [("error", "3")]


def test_frozen_is_silent() -> None:
    model = net()
    optimizer = sgd(model[0].parameters())
    assert check("OPT001", model, optimizer, frozen=("2",)) == []
    model[2].requires_grad_(False)
    assert check("OPT001", model, optimizer) == []


def test_groups_together_hold_everything() -> None:
    model = net()
    groups = [{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.01}]
    assert check("OPT001", model, sgd(groups)) == []


def test_replaced_head() -> None:
    model = net()
    optimizer = sgd(model.parameters())
    model[2] = nn.Linear(16, 4)
    assert check("OPT002", model, optimizer) == [("error", "2")]
    report = nnlint.check(
        {"model": model, "inputs": torch.randn(8, 8), "optimizer": optimizer}, select=["OPT001", "OPT002"]
    )
    assert [item.code for item in report.results[0].findings] == ["OPT002"]


def test_another_instance() -> None:
    model = net()
    assert check("OPT002", model, sgd(copy.deepcopy(model).parameters())) == [("error", "0")]


def test_a_second_model_trained_along_is_an_info() -> None:
    model, other = net(), net()
    assert check("OPT002", model, sgd([*model.parameters(), *other.parameters()])) == [("info", "")]


def test_parameters_of_the_loss_are_silent() -> None:
    class Weighted(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, output, targets):
            return (output * self.scale - targets).square().mean()

    model, loss = net(), Weighted()
    optimizer = sgd([*model.parameters(), *loss.parameters()])
    assert check("OPT002", model, optimizer, loss=loss, targets=torch.randn(8, 4)) == []


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
