"""What a strong decay or a large eps takes of the reduction of the loss, in 40 and in 150 updates.

Usage: python benchmarks/calibration/strong_settings.py   Figures: docs/evidence/calibration.md#trials.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional

UPDATES = (40, 150)
DECAYS = (0.01, 0.03, 0.1, 0.3, 1.0)
#: In multiples of the gradients (root mean square, median over the weight tensors).
EPSILONS = (0.1, 1.0, 3.0, 10.0)
OPTIMIZERS: dict[str, tuple[Any, dict[str, float]]] = {
    "Adam 1e-3": (torch.optim.Adam, {"lr": 1e-3}),
    "Adam 1e-2": (torch.optim.Adam, {"lr": 1e-2}),
    "SGD 0.1": (torch.optim.SGD, {"lr": 0.1}),
}


def problems() -> Iterator[tuple[str, nn.Module, torch.Tensor, torch.Tensor, Callable[..., torch.Tensor]]]:
    """Nets with inputs, targets and loss: labels that the inputs decide, labels that they do not, numbers."""
    torch.manual_seed(0)
    x = torch.randn(64, 20)
    decided, undecided = (x @ torch.randn(20, 5)).argmax(1), torch.arange(64) % 5
    yield "linear, decided labels", nn.Linear(20, 5), x, decided, functional.cross_entropy
    yield "linear, undecided labels", nn.Linear(20, 5), x, undecided, functional.cross_entropy
    yield "linear regression", nn.Linear(20, 1), x, x @ torch.randn(20, 1), functional.mse_loss
    net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5))
    yield "one hidden layer", net, x, decided, functional.cross_entropy


def losses(net: nn.Module, x: torch.Tensor, y: torch.Tensor, loss: Any, make: Callable[[Any], Any]) -> list[float]:
    """Of a run of a copy of the net."""
    model = copy.deepcopy(net)
    optimizer = make(model.parameters())
    found = []
    for _ in range(max(UPDATES) + 1):
        optimizer.zero_grad()
        value = loss(model(x), y)
        found.append(float(value.detach()))
        value.backward()
        optimizer.step()
    return found


def shares(plain: list[float], changed: list[float]) -> str:
    """Reductions of the loss over those of the plain run."""
    return " and ".join(f"{(changed[0] - changed[at]) / (plain[0] - plain[at]):.2f}" for at in UPDATES)


def gradient_size(net: nn.Module, x: torch.Tensor, y: torch.Tensor, loss: Any) -> float:
    """Root mean square of the gradients, median over the weight tensors."""
    model = copy.deepcopy(net)
    loss(model(x), y).backward()
    sizes = [float(p.grad.square().mean().sqrt()) for p in model.parameters() if p.dim() > 1 and p.grad is not None]
    return sorted(sizes)[len(sizes) // 2]


def main() -> None:
    """Measure and print both tables."""
    for name, net, x, y, loss in problems():
        for label, (kind, settings) in OPTIMIZERS.items():
            plain = losses(net, x, y, loss, lambda p, k=kind, s=settings: k(p, **s))
            for decay in DECAYS:
                made = losses(net, x, y, loss, lambda p, k=kind, s=settings, d=decay: k(p, weight_decay=d, **s))
                print(f"{name} | {label} | decay {decay:g} | {shares(plain, made)}")
            size = gradient_size(net, x, y, loss)
            for times in EPSILONS if kind is torch.optim.Adam else ():
                made = losses(net, x, y, loss, lambda p, k=kind, s=settings, e=times * size: k(p, eps=e, **s))
                print(f"{name} | {label} | eps {times:g} gradients | {shares(plain, made)}")


if __name__ == "__main__":
    main()
