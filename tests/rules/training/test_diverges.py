"""TRN002 diverges: the loss explodes or becomes NaN within the first steps of the training as configured."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nnlint
from tests.rules.training.training import found, mlp


class Root(nn.Module):
    def __init__(self, start):
        super().__init__()
        self.body, self.head = nn.Linear(20, 64), nn.Linear(64, 5)
        self.gain = nn.Parameter(torch.full((64,), start))

    def forward(self, x):
        return self.head(self.body(x).relu() * self.gain.sqrt())


def test_nan_after_a_few_updates_names_the_operation():
    torch.manual_seed(0)
    model = Root(0.02)
    (finding,) = found("TRN002", model, torch.optim.Adam(model.parameters(), lr=5e-3))
    assert "NaN or infinite after" in finding.message
    assert "sqrt in Root.forward" in finding.message
    assert finding.location.text.strip().startswith("return self.head(self.body(x)")


@pytest.mark.parametrize(("rate", "level"), [(3.0, "error"), (0.05, None)])
def test_a_rising_loss(rate, level):
    torch.manual_seed(0)
    model = nn.Linear(20, 1)
    fields = {"inputs": 2.0 * torch.randn(64, 20), "targets": torch.randn(64, 1), "loss": nn.MSELoss()}
    findings = found("TRN002", model, torch.optim.SGD(model.parameters(), lr=rate), **fields)
    assert [finding.level.value for finding in findings] == ([level] if level else [])


def test_a_trained_net_whose_tiny_loss_jumps_is_no_divergence():
    model = mlp()
    torch.manual_seed(1)
    inputs, targets = torch.randn(64, 20), torch.arange(64) % 5
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    fields = {"inputs": inputs, "targets": targets}
    assert found("TRN002", model, torch.optim.Adam(model.parameters(), lr=1e-2), **fields) == []


def test_a_lower_limit_can_be_set():
    torch.manual_seed(0)
    model = nn.Linear(20, 1)
    fields = {"inputs": torch.randn(64, 20), "targets": torch.randn(64, 1), "loss": nn.MSELoss()}
    rules = {"TRN002": {"rise": 1e-6, "fatal_rise": 1e9}}
    (finding,) = found("TRN002", model, torch.optim.SGD(model.parameters(), lr=1e-4), rules=rules, **fields)
    assert finding.level.value == "warning"


def test_without_an_optimizer_it_is_skipped():
    torch.manual_seed(0)
    fields = {"inputs": torch.randn(8, 20), "targets": torch.arange(8) % 5, "loss": nn.CrossEntropyLoss()}
    result = nnlint.check({"model": mlp(), **fields}, select=["TRN002"]).results[0]
    assert [entry.reason for entry in result.skipped] == ["no optimizer given"]
