"""The time budget: cheap evidence first, the longer probes by a count of work, and what was cut is named."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnlint
from nnlint.evidence import PROBES
from nnlint.finding import Level


def fields(head=None):
    """A net with one fault of the default profile (an unused input), by evidence that is dear within it."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4), head or nn.Identity())

        def forward(self, x, unused):
            return self.layers(x)

    torch.manual_seed(0)
    model = Net()
    return {
        "model": model,
        "inputs": (torch.randn(32, 8), torch.randn(32, 8)),
        "targets": torch.arange(32) % 4,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }


def codes(report):
    return {(finding.code, finding.module) for finding in report.findings if finding.code != "RUN006"}


def the_cut(report):
    return next((finding for finding in report.findings if finding.code == "RUN006"), None)


@pytest.fixture
def at_speed(monkeypatch):
    """Lets a look at the clock take some seconds, and nothing else any time."""

    def set_speed(seconds):
        ticks = iter(range(1_000_000))
        monkeypatch.setattr("nnlint.probes.session.time.monotonic", lambda: seconds * next(ticks))

    return set_speed


def test_a_budget_costs_no_finding_of_the_default_profile(at_speed):
    at_speed(0.0)
    plain = nnlint.check(fields())
    short = nnlint.check(fields(), deep=True, budget=0.05)
    assert codes(plain) == codes(short) >= {("ARC011", "")}
    cut = the_cut(short)
    assert cut.level is Level.INFO
    assert "overfit (not begun: it needs 60 steps" in cut.message
    assert "TRN001" in cut.message
    assert (short.exit_status(), short.results[0].status) == (0, "ok")


def test_the_same_budget_measures_the_same_however_fast_the_machine_is(at_speed):
    reports = []
    for speed in (0.0, 1e-4):
        at_speed(speed)
        reports.append(nnlint.check(fields(nn.Softmax(dim=1)), deep=True, budget=2.0).results[0])
    one, other = ({name: report.measurements.get(name) for name in PROBES} for report in reports)
    assert one == other
    assert "steps instead of" in the_cut(reports[0]).message
    assert the_cut(reports[0]).message == the_cut(reports[1]).message


def test_a_budget_with_room_is_not_mentioned():
    report = nnlint.check(fields(), deep=True, budget=3600)
    assert the_cut(report) is None
    assert not any("budget" in skipped.reason for skipped in report.skipped)


def test_what_the_clock_cuts_of_the_default_profile_is_a_failure(at_speed):
    at_speed(1.0)
    report = nnlint.check(fields(), budget=5.0)
    cut = the_cut(report)
    assert cut.level is Level.ERROR
    assert "stopped by the clock, not begun" in cut.message
    assert (report.exit_status(), report.results[0].status) == (2, "failed")
