"""What several tests share: modes and running statistics that do not fit."""

from __future__ import annotations

import torch
from torch import nn


def net() -> nn.Module:
    torch.manual_seed(0)
    part = nn.Sequential(nn.Linear(20, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2))
    return nn.Sequential(part, nn.Linear(32, 5))
