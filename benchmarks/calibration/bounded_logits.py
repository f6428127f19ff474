"""What an activation on the logits costs: the same net trained with and without it, under a softmax and under a binary loss.

Usage: python benchmarks/calibration/bounded_logits.py
Prints the table of docs/evidence/calibration.md, "Bounded logits": means over five seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean

import torch
from tabulate import tabulate
from torch import nn
from torch.nn import functional

CLASSES, SAMPLES, STEPS, SEEDS = 10, 512, 300, 5
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "none": lambda logits: logits,
    "elu": functional.elu,
    "selu": functional.selu,
    "relu": functional.relu,
    "gelu": functional.gelu,
    "softplus": functional.softplus,
    "tanh": torch.tanh,
}


def train(activation: Callable[[torch.Tensor], torch.Tensor], seed: int, *, binary: bool) -> tuple[float, float]:
    """Final training loss, and accuracy on samples that were not trained on."""
    torch.manual_seed(seed)
    centers, labels = torch.randn(CLASSES, 20), torch.arange(SAMPLES) % CLASSES
    inputs, held_out = (centers[labels] + 0.7 * torch.randn(SAMPLES, 20) for _ in range(2))
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, CLASSES))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    one_hot = functional.one_hot(labels, CLASSES).float()
    loss = torch.zeros(())
    for _ in range(STEPS):
        optimizer.zero_grad()
        logits = activation(model(inputs))
        if binary:
            loss = functional.binary_cross_entropy_with_logits(logits, one_hot)
        else:
            loss = functional.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        hits = activation(model(held_out)).argmax(1) == labels
    return float(loss.detach()), float(hits.float().mean())


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    rows = []
    for name, activation in ACTIVATIONS.items():
        row: list[str] = [name]
        for binary in (False, True):
            runs = [train(activation, seed, binary=binary) for seed in range(SEEDS)]
            row += [f"{mean(loss for loss, _ in runs):.4f}", f"{mean(hit for _, hit in runs):.3f}"]
        rows.append(row)
    headers = ["on the logits", "cross-entropy", "accuracy", "binary loss", "accuracy"]
    print(tabulate(rows, headers, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
