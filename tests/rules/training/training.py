"""What several tests share: what counts as a training that goes wrong, and what does not."""

from __future__ import annotations

import torch
from torch import nn

import nnlint


def mlp(*layers, features=20, width=64, classes=5):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(features, width), nn.ReLU(), *layers, nn.Linear(width, classes))


def report(code, model, optimizer=None, **fields):
    settings = {name: fields.pop(name) for name in ("deep", "probes", "rules") if name in fields}
    torch.manual_seed(1)
    fields = {"inputs": torch.randn(64, 20), "targets": torch.arange(64) % 5, "loss": nn.CrossEntropyLoss(), **fields}
    optimizer = optimizer or torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    return nnlint.check({"model": model, "optimizer": optimizer, **fields}, select=[code], **settings).results[0]


def found(code, model, optimizer=None, **fields):
    result = report(code, model, optimizer, **fields)
    assert [entry.reason for entry in result.skipped] == []
    return result.findings


def reason(code, model, optimizer=None, **fields):
    result = report(code, model, optimizer, **fields)
    assert result.findings == []
    return result.skipped[0].reason
