"""What several tests share: decay and growth toward the input, told from what only looks like it."""

from __future__ import annotations

import torch
from torch import nn

import nnlint


def check(model, inputs, targets=None, loss=None):
    setup = {"model": model, "inputs": inputs}
    if loss is not None:
        setup |= {"loss": loss, "targets": targets}
    report = nnlint.check(setup, select=["GRD001", "GRD002"]).results[0]
    assert report.skipped == []
    return report.findings


def codes(*args, **kwargs):
    return [item.code for item in check(*args, **kwargs)]


class Stack(nn.Module):
    def __init__(self, block, depth, classes=5):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Linear(16, 32)
        self.blocks = nn.ModuleList(block() for _ in range(depth))
        self.head = nn.Linear(32, classes)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def he():
    layer = nn.Linear(32, 32)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return nn.Sequential(nn.ReLU(), layer)


NOISE = torch.randn(32, 16, generator=torch.Generator().manual_seed(1))


LABELS = torch.arange(32) % 5
