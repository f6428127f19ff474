"""Shared by the tests: user code that raises in a run that training makes is a finding; what nnlint only tries is a skip."""

from __future__ import annotations

import torch
from torch import nn

import nnlint


def fields(model, loss=None, optimizer=None, **more):
    torch.manual_seed(0)
    return {
        "model": model,
        "inputs": torch.randn(16, 8),
        "targets": torch.arange(16) % 4,
        "loss": loss or nn.CrossEntropyLoss(),
        "optimizer": optimizer or torch.optim.SGD(model.parameters(), lr=0.05),
    } | more


def failures(setup, **settings):
    report = nnlint.check(setup, **settings)
    return report, [finding for finding in report.findings if finding.code.startswith("RUN")]


def only_failure(setup, code="RUN008", **settings):
    report, found = failures(setup, **settings)
    assert [finding.code for finding in found] == [code], [finding.message for finding in found]
    assert report.exit_status() == 2
    assert report.results[0].status == "failed"
    assert not any(finding.code == "RUN007" for finding in report.findings)
    return report, found[0]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 12), nn.Linear(12, 4)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)))
