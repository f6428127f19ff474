"""What several tests share: what the optimizer holds and how fast it moves it."""

from __future__ import annotations

import torch
from torch import nn

import nnlint


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def check(code, model, optimizer, **parts):
    setup = {"model": model, "inputs": torch.randn(8, 8), "optimizer": optimizer, **parts}
    report = nnlint.check(setup, select=[code]).results[0]
    assert report.skipped == []
    return [(item.level.value, item.module) for item in report.findings]


def sgd(parameters, lr=0.1, **options):
    return torch.optim.SGD(parameters, lr=lr, **options)
