"""What several tests share: the optimizer's settings and its schedule."""

from __future__ import annotations

import torch
from torch import nn

import nnlint


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))


def check(code, model, optimizer, **parts):
    setup = {"model": model, "inputs": torch.randn(8, 8), "optimizer": optimizer, **parts}
    report = nnlint.check(setup, select=[code]).results[0]
    assert report.skipped == []
    return report.findings


def levels(*args, **parts):
    return [item.level.value for item in check(*args, **parts)]
