"""What several tests share: outputs that do not vary, inputs that do not matter, dropout that stays on."""

from __future__ import annotations

import torch
from torch import nn

import nnlint
from tests.rules.architecture.dependence import Functional, ids

CODES = ("ARC010", "ARC011", "ARC012", "SIG007")


def report(function, inputs, **parts):
    fields = {key: parts.pop(key) for key in ("declared", "targets", "loss") if key in parts}
    torch.manual_seed(0)
    model = Functional(function, **parts)
    return nnlint.check({"model": model, "inputs": inputs, **fields}, select=list(CODES)).results[0]


def found(*args, **kwargs):
    result = report(*args, **kwargs)
    assert result.status == "ok"
    return {(item.code, item.level.value): item for item in result.findings}


def supervised(samples=16):
    return {"targets": ids(samples, high=5), "loss": nn.CrossEntropyLoss()}
