"""What several tests share: the scale of fresh weights counts where the signal shows it."""

from __future__ import annotations

import torch
from torch import nn


def deep(
    depth: int, *, width: int = 64, activation: type[nn.Module] = nn.ReLU, norm: bool = False, init=None
) -> nn.Module:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for index in range(depth):
        layers.append(nn.Linear(20 if index == 0 else width, width))
        if init is not None:
            init(layers[-1].weight)
            nn.init.zeros_(layers[-1].bias)
        layers += [nn.LayerNorm(width)] if norm else []
        layers.append(activation())
    return nn.Sequential(*layers, nn.Linear(width, 5))


def he(weight):
    nn.init.kaiming_normal_(weight, nonlinearity="relu")


def normal(std):
    return lambda weight: nn.init.normal_(weight, std=std)
