"""What weight decay takes of the reduction of the loss in 40 updates: healthy decays against excessive ones.

Usage: python benchmarks/calibration/trials.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

UPDATES = 40


def linear() -> tuple[nn.Module, torch.Tensor]:
    return nn.Linear(20, 5), torch.randn(64, 20)


def perceptron() -> tuple[nn.Module, torch.Tensor]:
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5)), torch.randn(64, 20)


def convolutional() -> tuple[nn.Module, torch.Tensor]:
    blocks = [nn.Sequential(nn.Conv2d(i, o, 3), nn.BatchNorm2d(o), nn.ReLU()) for i, o in ((3, 16), (16, 32))]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5)), torch.randn(64, 3, 16, 16)


NETS = (linear, perceptron, convolutional)
#: Optimizer, its rate, further settings, and the decays: first those in use, then those that are excessive.
SETTINGS: tuple[tuple[Any, float, dict[str, float], tuple[float, ...]], ...] = (
    (torch.optim.SGD, 0.1, {"momentum": 0.9}, (5e-4, 5e-3, 0.3)),
    (torch.optim.Adam, 1e-3, {}, (5e-4, 1e-3, 0.1, 0.3, 1.0)),
    (torch.optim.AdamW, 1e-3, {}, (0.01, 0.1, 100.0)),
)


def losses(make: Callable[[], tuple[nn.Module, torch.Tensor]], kind: Any, **settings: float) -> tuple[float, float]:
    """First and last loss of a run."""
    torch.manual_seed(0)
    model, inputs = make()
    targets, optimizer = torch.arange(64) % 5, kind(model.parameters(), **settings)
    found = []
    for _ in range(UPDATES + 1):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), targets)
        found.append(float(loss.detach()))
        loss.backward()
        optimizer.step()
    return found[0], found[-1]


def rows() -> Iterator[str]:
    for kind, rate, more, decays in SETTINGS:
        for make in NETS:
            first, without = losses(make, kind, lr=rate, weight_decay=0.0, **more)
            for decay in decays:
                _, reached = losses(make, kind, lr=rate, weight_decay=decay, **more)
                yield f"| {kind.__name__} {rate:g} | {make.__name__} | {decay:g} | {(first - reached) / (first - without):.2f} |"


if __name__ == "__main__":
    print("| optimizer, rate | net | decay | share of the reduction |\n|---|---|---|---|")
    print("\n".join(rows()))
