"""TRN004 units-die-in-training: rectified units that are alive at first and zero for the whole batch a few updates later."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.rules.training.training import found, mlp


class Functional(nn.Module):
    def __init__(self, activation):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.activation = nn.Linear(30, 64), nn.Linear(64, 1), activation

    def forward(self, x):
        return self.last(self.activation(self.first(x)))


def one_sided(samples=64):
    """Inputs and targets whose mean drives every weight of a unit the same way."""
    inputs = torch.rand(samples, 30) + 1.0
    return {"inputs": inputs, "targets": inputs[:, :1] - 3.0, "loss": nn.MSELoss()}


def fast(model, rate=0.02):
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)


@pytest.mark.parametrize("activation", [nn.ReLU(), torch.relu, F.relu6, lambda x: x.clone().relu_()])
def test_units_that_the_updates_kill(activation):
    model = Functional(activation)
    (finding,) = found("TRN004", model, fast(model), **one_sided())
    assert finding.evidence["growth"] > 0.3
    calm = Functional(activation)
    assert found("TRN004", calm, fast(calm, 1e-4), **one_sided()) == []


def test_few_samples_make_it_an_info_and_few_units_nothing():
    model = Functional(torch.relu)
    assert [finding.level.value for finding in found("TRN004", model, fast(model), **one_sided(16))] == ["info"]
    narrow = Functional(torch.relu)
    narrow.first, narrow.last = nn.Linear(30, 6), nn.Linear(6, 1)
    assert found("TRN004", narrow, fast(narrow, 0.05), **one_sided()) == []


def test_units_that_were_dead_before_are_another_rules():
    model = mlp()
    nn.init.constant_(model[0].bias, -50.0)
    assert found("TRN004", model) == []
