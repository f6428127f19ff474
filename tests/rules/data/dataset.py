"""What several tests share: samples and labels of the data as a whole."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import (
    DataLoader,
    TensorDataset,
)

import nnlint

GENERATOR = torch.Generator().manual_seed(7)


INPUTS = torch.randn(512, 12, generator=GENERATOR)


BALANCED = torch.arange(512) % 4


SKEWED = torch.where(torch.arange(512) % 20 > 0, 0, 1)


def net(outputs=4):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, outputs))


def report(code, loss=None, model=None, **parts):
    setup = {"model": model or net(), "loss": loss or nn.CrossEntropyLoss(), **parts}
    return nnlint.check(setup, select=[code]).results[0]


def check(code, **parts):
    made = report(code, **parts)
    assert made.skipped == []
    return [item.level.value for item in made.findings]


def loader(labels, **options):
    return DataLoader(TensorDataset(INPUTS[: len(labels)], labels), batch_size=64, **options)
