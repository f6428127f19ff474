"""What several tests share: decay and growth through depth, and the nets whose scale is somebody else's work."""

from __future__ import annotations

import torch
from torch import nn

import nnlint


class Stack(nn.Module):
    def __init__(self, block, depth, head=None):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Linear(16, 48)
        self.blocks = nn.ModuleList(block() for _ in range(depth))
        self.head = head or nn.Linear(48, 5)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def scaled(gain):
    """A ReLU block whose layer has `gain` times the He std."""

    def make():
        layer = nn.Linear(48, 48, bias=False)
        nn.init.normal_(layer.weight, std=gain * (2 / 48) ** 0.5)
        return nn.Sequential(nn.ReLU(), layer)

    return make


class Residual(nn.Module):
    def __init__(self, branch):
        super().__init__()
        self.branch = branch

    def forward(self, x):
        return x + self.branch(x)


def check(model, codes=("SIG004", "SIG005")):
    torch.manual_seed(1)
    report = nnlint.check({"model": model, "inputs": torch.randn(32, 16)}, select=list(codes)).results[0]
    assert report.skipped == []
    return [(item.code, item.level.value) for item in report.findings]
