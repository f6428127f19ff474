"""What several tests share: rates and decays that the steps and the range test speak against."""

from __future__ import annotations

import torch
from torch import nn

import nnlint


def mlp(width=64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 5))


def result(code, model, optimizer, **fields):
    settings = {name: fields.pop(name) for name in ("deep", "probes", "rules") if name in fields}
    torch.manual_seed(1)
    fields = {"inputs": torch.randn(64, 20), "targets": torch.arange(64) % 5, "loss": nn.CrossEntropyLoss(), **fields}
    return nnlint.check({"model": model, "optimizer": optimizer, **fields}, select=[code], **settings).results[0]


def found(code, model, optimizer, **fields):
    checked = result(code, model, optimizer, **fields)
    assert [entry.reason for entry in checked.skipped] == []
    return [(finding.level.value, finding.message) for finding in checked.findings]


def sgd(model, **settings):
    return torch.optim.SGD(model.parameters(), **{"lr": 0.01, **settings})
