"""OPT002 stale-optimizer: the optimizer holds tensors that the model does not have."""

from __future__ import annotations

import copy

import torch
from torch import nn

import nnlint
from tests.rules.optimizer.parameters import check, net, sgd


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
