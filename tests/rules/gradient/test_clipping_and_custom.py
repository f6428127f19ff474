"""GRD005 and GRD007: spikes that clipping would hold down, and custom functions with a wrong backward."""

from __future__ import annotations

from dataclasses import replace
from statistics import quantiles

import pytest
import torch
from torch import nn

import nnlint
from nnlint.probes.updates.stats import StepStats

# ------------------------------------------------------------------ GRD005


class Recurrent(nn.Module):
    """Amplifies its state at every step of the sequence, or damps it."""

    def __init__(self, gain, width=32):
        super().__init__()
        self.rnn, self.head = nn.RNN(4, width, batch_first=True), nn.Linear(width, 1)
        nn.init.orthogonal_(self.rnn.weight_hh_l0, gain=gain)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


def clipped(gain=1.2, *, select=("GRD005",), make=None, scale=5.0, rules=None, width=32, **changes):
    torch.manual_seed(0)
    model = Recurrent(gain, width)
    inputs = torch.randn(32, 30, 4)
    optimizer = make(model) if make else torch.optim.SGD(model.parameters(), lr=0.02)
    targets = scale * inputs[:, :, 0].mean(dim=1, keepdim=True)
    fields = {
        "model": model,
        "inputs": inputs,
        "targets": targets,
        "loss": nn.MSELoss(),
        "optimizer": optimizer,
        **changes,
    }
    return nnlint.check(fields, select=select, rules=rules or {}).results[0]


def test_a_spike_is_an_info_with_a_norm_to_clip_to():
    (finding,) = clipped().findings
    norms = finding.evidence["norms"]
    worst = max(norms)
    assert finding.level.value == "info"
    assert finding.evidence["spike"] > 5.0
    assert f"step {norms.index(worst) + 1}," in finding.message
    assert finding.evidence["max_norm"] == pytest.approx(quantiles(norms, n=10, method="inclusive")[-1])
    assert finding.evidence["max_norm"] < worst
    assert f"max_norm={finding.evidence['max_norm']:.2g})" in finding.fix


class Clipping(torch.optim.SGD):
    """Clips before it steps: the norms are measured before."""

    def step(self, closure=None):
        torch.nn.utils.clip_grad_norm_(self.param_groups[0]["params"], 0.5)
        return super().step(closure)


@pytest.mark.parametrize(
    "changes",
    [
        {"gain": 0.9},
        {"gain": 0.5},
        {"make": lambda model: torch.optim.SGD(model.parameters(), lr=1e-4)},
        {"make": lambda model: torch.optim.Adam(model.parameters(), lr=1e-3)},
        {"make": lambda model: Clipping(model.parameters(), lr=0.02)},
        {"rules": {"GRD005": {"spike": 1000.0}}},
    ],
    ids=["damped", "forgetful", "low rate", "adam", "clipped", "higher limit"],
)
def test_norms_without_spikes(changes):
    result = clipped(**changes)
    assert (result.findings, result.skipped) == ([], [])


def test_a_jump_after_the_batch_was_learned_is_measured_by_what_was_before():
    norms = [30.0, 10.0, 40.0, *[1e-9] * 10, 60.0]
    stats = StepStats(parameters=(), losses=(1.0,), steps=len(norms), own_optimizer=True, gradient_norms=tuple(norms))
    assert stats.gradient_spike == (13, 2.0)
    tenfold = replace(stats, gradient_norms=(*norms[:-1], 300.0))
    assert tenfold.gradient_spike == (13, 10.0)


def test_a_loss_that_is_no_number_is_another_rules():
    result = clipped(
        select=("GRD005", "TRN002"), make=lambda model: torch.optim.SGD(model.parameters(), lr=1e8), scale=1e8
    )
    (finding,) = result.findings
    assert finding.code == "TRN002"
    assert "NaN or infinite" in finding.message
    assert finding.symptoms == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"optimizer": None}, "no optimizer given"),
        ({"loss": None, "targets": None}, "no loss given"),
        ({"rules": {"GRD005": {"min_steps": 500}}}, "needs 500 gradient norms, got"),
    ],
    ids=["no optimizer", "no loss", "few norms"],
)
def test_what_cannot_be_judged_says_so(changes, reason):
    result = clipped(**changes)
    assert result.findings == []
    assert reason in result.skipped[0].reason


# ------------------------------------------------------------------ GRD007


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
