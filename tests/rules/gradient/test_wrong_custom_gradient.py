"""GRD007 wrong-custom-gradient: the backward of a custom autograd.Function does not fit its forward."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnlint


def function(forward, backward, name="Custom"):
    class Custom(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return forward(x)

        @staticmethod
        def backward(ctx, grad):
            return backward(grad, ctx.saved_tensors[0])

    Custom.__name__ = Custom.__qualname__ = name
    return Custom


class Calls(nn.Module):
    """Two layers with something between."""

    def __init__(self, *functions):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head, self.functions = nn.Linear(20, 32), nn.Linear(32, 5), functions

    def forward(self, x):
        x = self.body(x)
        for between in self.functions:
            x = between(x)
        return self.head(x)


def custom(*functions, **settings):
    torch.manual_seed(1)
    fields = {"inputs": torch.randn(16, 20), "targets": torch.arange(16) % 5, "loss": nn.CrossEntropyLoss()}
    settings = settings or {"probes": ("gradcheck",)}
    return nnlint.check({"model": Calls(*functions), **fields}, select=["GRD007"], **settings).results[0]


@pytest.mark.parametrize(
    ("forward", "backward", "ratio"),
    [
        (lambda x: x * x, lambda grad, x: grad * x, "0.5 times"),
        (lambda x: x * x, lambda grad, x: -2 * x * grad, "-1 times"),
        (torch.tanh, lambda grad, x: grad, "times"),
        (torch.sigmoid, lambda grad, x: grad * x.sigmoid() * (1 + x.sigmoid()), "times"),
        (lambda x: x.clamp(min=0.0), lambda grad, x: 2 * grad * (x > 0), "2 times"),
    ],
    ids=["half", "sign", "not a derivative", "one sign inside", "twice"],
)
def test_a_wrong_backward_is_an_error_at_its_call(forward, backward, ratio):
    wrong = function(forward, backward, "Wrong")
    (finding,) = custom(wrong.apply).findings
    assert (finding.code, finding.level.value) == ("GRD007", "error")
    assert "the backward of Wrong is not the derivative of its forward" in finding.message
    assert ratio in finding.message
    assert finding.location is not None
    assert "between(x)" in finding.location.text


def test_each_wrong_function_is_one_finding():
    double, half = (function(torch.sin, lambda g, x, f=f: f * g * x.cos(), f"F{f}") for f in (2.0, 0.5))
    right = function(torch.sin, lambda g, x: g * x.cos(), "Right")
    result = custom(double.apply, right.apply, half.apply, double.apply)
    assert [finding.evidence["function"] for finding in result.findings] == ["F2.0", "F0.5"]


@pytest.mark.parametrize(
    ("forward", "backward"),
    [
        (lambda x: x * x, lambda grad, x: grad * 2 * x),
        (lambda x: x.clamp(min=0.0), lambda grad, x: grad * (x > 0)),
        (lambda x: x.view_as(x), lambda grad, x: -0.1 * grad),
        (lambda x: x.view_as(x), lambda grad, x: grad.clamp(-1e-3, 1e-3)),
        (torch.round, lambda grad, x: grad),
        (lambda x: (x > 0).to(x.dtype), lambda grad, x: grad * (x.abs() < 1)),
        (lambda x: x * (torch.rand_like(x) > 0.5), lambda grad, x: grad),
    ],
    ids=["square", "relu", "gradient reversal", "gradient clipping", "straight through", "binary", "random"],
)
def test_right_and_deliberate_backwards(forward, backward):
    result = custom(function(forward, backward).apply)
    assert (result.findings, result.skipped) == ([], [])


def test_what_there_is_nothing_to_check_in():
    result = custom(torch.relu)
    assert [entry.reason for entry in result.skipped] == ["the forward calls no custom autograd.Function"]
    assert "needs --deep or --probe gradcheck" in custom(torch.relu, seed=0).skipped[0].reason


def test_the_wrong_backward_is_the_cause_of_a_zero_gradient():
    """GRD003 sees a layer that never gets a gradient; the function in front of it is why."""
    dead = function(torch.sin, lambda grad, x: 0.0 * grad, "Dead")
    torch.manual_seed(1)
    model = Calls(dead.apply)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fields = {"inputs": torch.randn(16, 20), "targets": torch.arange(16) % 5, "loss": nn.CrossEntropyLoss()}
    checked = nnlint.check(
        {"model": model, "optimizer": optimizer, **fields}, select=["GRD003", "GRD007"], probes=("gradcheck",)
    )
    (finding,) = checked.findings
    assert finding.code == "GRD007"
    assert [symptom.code for symptom in finding.symptoms] == ["GRD003"]
