"""What several tests share: dropout with settings that do something else than meant."""

from __future__ import annotations

import torch
from torch import nn


def mlp(dropout: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), dropout, nn.Linear(32, 5))


TOKENS = torch.randn(4, 6, 8)
