"""What several tests share: what the inputs hold and where they go."""

from __future__ import annotations

import torch
from torch import nn

import nnlint

GENERATOR = torch.Generator().manual_seed(5)


TABLE = torch.randn(64, 12, generator=GENERATOR)


IMAGES = torch.randn(64, 3, 12, 12, generator=GENERATOR)


def check(code, model, inputs, **parts):
    report = nnlint.check({"model": model, "inputs": inputs, **parts}, select=[code]).results[0]
    assert report.skipped == []
    return [item.level.value for item in report.findings]


def flat(size=12):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(size, 4))


def conv(channels=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def changed(tensor, index, value):
    made = tensor.clone()
    made[index] = value
    return made


class Cast(nn.Module):
    def __init__(self, before, channels=3):
        super().__init__()
        self.before, self.net = before, conv(channels)

    def forward(self, x):
        return self.net(self.before(x))
