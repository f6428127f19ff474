"""What several tests share: what counts as a dead or saturated unit, and what does not."""

from __future__ import annotations

from torch import nn

import nnlint


def findings(code, model, inputs, **settings):
    report = nnlint.check({"model": model, "inputs": inputs}, select=[code], **settings)
    assert [skipped.reason for skipped in report.results[0].skipped] == []
    return report.results[0].findings


class Functional(nn.Module):
    def __init__(self, layer, activation):
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(64, 5)
        self.activation = activation

    def forward(self, x):
        return self.head(self.activation(self.layer(x)))
