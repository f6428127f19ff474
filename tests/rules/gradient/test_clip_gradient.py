"""GRD005 clip-gradient: the norm of the gradient jumps within the first steps: clipping would help."""

from __future__ import annotations

from dataclasses import replace
from statistics import quantiles

import pytest
import torch
from torch import nn

import nnlint
from nnlint.probes.updates.stats import StepStats


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
