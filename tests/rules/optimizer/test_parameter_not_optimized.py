"""OPT001 parameter-not-optimized: A trainable parameter is in no parameter group of the optimizer."""

from __future__ import annotations

import torch
from torch import nn

import nnlint
from tests.rules.optimizer.parameters import check, net, sgd


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
