"""What the article's nets show in a short training: steps to fit, the step of the first NaN and its cures, the usable rates."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import nnlint
from nnlint.config import CheckSettings
from nnlint.probes.longer import overfit
from nnlint.probes.session import Plan, Session
from nnlint.setup import SetupOptions
from nnlint.setup.target.resolve import resolve

ARTICLE = Path(__file__).resolve().parents[2] / "fixtures" / "article"


def built(target):
    return resolve(f"{ARTICLE / target}", SetupOptions.from_settings(CheckSettings()))


def evidence(target, name, probe):
    return Session(built(target), Plan(probes=(probe,))).evidence(name)


def test_the_sigmoid_net_takes_ten_times_the_steps_of_its_relu_twin(monkeypatch):
    """Slow, not impossible: its training is no plateau, and TRN001 does not say so."""
    monkeypatch.setattr(overfit, "_EFFORT", (4e10, 64, 120))
    healthy = evidence("vanishing_gradient.py:build_relu", "OverfitRun", "overfit")
    slow = evidence("vanishing_gradient.py:build_sigmoid", "OverfitRun", "overfit")
    assert (healthy.verdict, slow.verdict) == ("fit", "inconclusive")
    assert healthy.steps_to_fit <= 12
    assert slow.steps >= 10 * healthy.steps_to_fit
    assert slow.left > 0.5


def test_the_learning_rates_of_the_relu_net():
    found = evidence("vanishing_gradient.py:build_relu", "LearningRateRange", "lr-range")
    low, high = found.interval
    assert low < 1e-3 < high < 3e-2
    assert low < found.suggestion < high
    # What the article takes, the minimum of the curve, kills the net.
    assert found.minimum > high
    assert found.minimum_diverged


def findings(setup):
    checked = nnlint.check(setup, select=["OPT003", "TRN002", "DAT010"])
    return {finding.code: finding for finding in checked.findings}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_regression_net_breaks_at_a_step_that_the_finding_names(seed):
    torch.manual_seed(seed)
    setup = built("exploding_gradient_nan.py:build_unscaled")
    for parameter in setup.model.parameters():
        torch.nn.init.kaiming_uniform_(parameter, a=5**0.5)  # torch's default, anew: the fixture seeds itself
    said = findings(setup)
    assert set(said) == {"DAT010", "OPT003"}
    finding = said["OPT003"]
    step = len(finding.evidence["losses"]) - 1
    assert finding.level.value == "error"
    assert 5 <= step <= 14
    assert f"the loss becomes NaN or infinite at update {step}" in finding.message
    (symptom,) = finding.symptoms
    assert symptom.code == "TRN002"
    assert f"the loss becomes NaN or infinite after {step} updates (SGD, lr 0.01), first in " in symptom.message


class Clipped(torch.optim.SGD):
    """SGD after clip_grad_norm_(..., 4.0), as the article's second training has it."""

    def step(self, closure=None):
        torch.nn.utils.clip_grad_norm_(self.param_groups[0]["params"], 4.0)
        return super().step(closure)


def test_clipping_cures_the_step_and_not_the_cause():
    setup = built("exploding_gradient_nan.py:build_unscaled")
    clipped = Clipped(setup.model.parameters(), lr=0.01, momentum=0.9)
    assert set(findings(setup.model_copy(update={"optimizer": clipped}))) == {"DAT010"}


def test_a_scaled_target_cures_both():
    assert findings(built("exploding_gradient_nan.py:build_standardized")) == {}
