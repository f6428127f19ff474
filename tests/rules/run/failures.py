"""What several tests share: The RUN family: what keeps a check from running is a finding, and the static rules still report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    pass


class Net(nn.Module):
    """A frozen-by-mistake optimizer goes with it: a static finding that needs no forward."""

    def __init__(self, between=torch.relu):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(8, 16), nn.Linear(16, 4)
        self.between = between

    def forward(self, x):
        return self.fc2(self.between(self.fc1(x)))


def setup(model, *, inputs=None, loss=None, targets=None):
    return {
        "model": model,
        "inputs": torch.randn(8, 8) if inputs is None else inputs,
        "targets": torch.arange(8) % 4 if targets is None else targets,
        "loss": loss or nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(model.fc1.parameters(), lr=0.1),
    }


def codes(report):
    return {item.code for item in report.results[0].findings}
