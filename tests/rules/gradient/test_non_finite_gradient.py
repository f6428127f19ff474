"""GRD004: the backward function that made the first NaN or Inf."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnlint


class Net(nn.Module):
    def __init__(self, between):
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.fc2 = nn.Linear(16, 32), nn.Linear(32, 5)
        self.between = between

    def forward(self, x):
        return self.fc2(self.between(self.fc1(x)))


def at_zero(function):
    """`function` of values that are all exactly 0 and have the layer's gradient."""
    return lambda h: function(h - h.detach())


def check(between, **parts):
    torch.manual_seed(1)
    setup = {
        "model": Net(between),
        "inputs": torch.randn(16, 16),
        "targets": torch.arange(16) % 5,
        "loss": nn.CrossEntropyLoss(),
    }
    report = nnlint.check({**setup, **parts}, select=["GRD004"]).results[0]
    assert report.skipped == []
    return report.findings


@pytest.mark.parametrize(
    ("between", "op", "value"),
    [
        (torch.sqrt, "sqrt", "Inf"),
        (lambda h: h.pow(0.5), "pow", "Inf"),
        (lambda h: torch.where(h > 0, torch.log(h), torch.zeros_like(h)), "log", "NaN"),
        (lambda h: torch.where(h > 0, 1 / h, torch.zeros_like(h)), "div", "NaN"),
        (lambda h: torch.acos(1 + h), "acos", "Inf"),
    ],
    ids=["sqrt", "pow", "where log", "where div", "acos"],
)
def test_names_the_op_behind_a_finite_forward(between, op, value) -> None:
    found = check(at_zero(between))
    assert [(item.code, item.level.value) for item in found] == [("GRD004", "error")]
    assert found[0].message.startswith(f"the backward of {op} in ")
    assert found[0].evidence["value"] == value
    assert "fc1" in found[0].modules
    assert found[0].location is not None


def test_non_finite_loss_is_another_rules_matter() -> None:
    assert check(lambda h: h / 0.0) == []


@pytest.mark.parametrize(
    "between", [torch.relu, lambda h: torch.sqrt(h + 1e-6), lambda h: h.norm(dim=-1, keepdim=True) + h]
)
def test_finite_gradients_are_silent(between) -> None:
    assert check(between) == []


def test_without_a_loss() -> None:
    assert [item.code for item in check(at_zero(torch.sqrt), loss=None, targets=None)] == ["GRD004"]


def test_masked_before_it_reaches_a_parameter_is_an_info() -> None:
    """ReLU passes no gradient where it is zero, whatever comes back."""
    assert [item.level.value for item in check(lambda h: torch.sqrt(torch.relu(h)))] == ["info"]
