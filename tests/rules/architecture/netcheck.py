"""Checks one small net with one rule."""

from __future__ import annotations

import torch
from torch import nn

import nnlint


class Net(nn.Module):
    """A module whose forward is the given function of itself and the input."""

    def __init__(self, function, **attributes):
        super().__init__()
        self.function = function
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, *inputs, **keywords):
        return self.function(self, *inputs, **keywords)


def found(code, model, inputs=None, *, loss=None, targets=None, **setup):
    """The findings of rule `code`, which must have been evaluated."""
    torch.manual_seed(0)
    if inputs is None:
        inputs = torch.randn(16, 8)
    given = {"model": model, "inputs": inputs, **setup}
    if loss is not None:
        given |= {"loss": loss, "targets": targets if targets is not None else torch.zeros(16, dtype=torch.long)}
    (result,) = nnlint.check(given, select=(code,)).results
    assert result.status == "ok", [item.message for item in result.findings]
    assert not result.skipped, [item.reason for item in result.skipped]
    return result.findings


def levels(code, model, inputs=None, **setup):
    """`{module: level}` of the findings."""
    return {item.module: item.level.value for item in found(code, model, inputs, **setup)}


def linear(width=8, outputs=8):
    return nn.Linear(width, outputs)
