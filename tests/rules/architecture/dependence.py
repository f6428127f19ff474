"""What several tests share: what may depend on what, and what is meant to."""

from __future__ import annotations

import math

import torch
from torch import nn

import nnlint

CODES = ("ARC008", "ARC009", "ARC018", "ARC021")


class Functional(nn.Module):
    """A forward written as a function of the module and the inputs."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs):
        return self.function(self, *inputs)


def rand(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def ids(*shape, high=20):
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(1))


def report(function, inputs, *, targets=None, select=CODES, **parts):
    fields = {key: parts.pop(key) for key in ("declared", "causal", "loss") if key in parts}
    if targets is not None:
        fields = {"targets": targets, "loss": nn.CrossEntropyLoss()} | fields
    torch.manual_seed(0)
    model = Functional(function, **parts)
    return nnlint.check({"model": model, "inputs": inputs, **fields}, select=list(select)).results[0]


def found(*args, **kwargs):
    result = report(*args, **kwargs)
    assert result.status == "ok"
    return {(item.code, item.level.value): item for item in result.findings}


def attend(net, x, mask=None):
    scores = x @ x.transpose(1, 2) / math.sqrt(x.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(mask, float("-inf"))
    return net.fc(scores.softmax(dim=-1) @ x)
