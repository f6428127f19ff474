"""What a narrow layer before the head costs, by its width and the number of classes (ARC028).

    python -m benchmarks.calibration.bottleneck [--steps 600] [--write]

Gaussian clusters in 64 dimensions, 20 samples a class; a net 64 -> 256 -> width -> ReLU -> 256 -> classes, Adam 2e-3. Prints the
share of the samples that are classified correctly after training, each relative to the net without the narrow layer.
"""

from __future__ import annotations

import argparse

import torch
from tabulate import tabulate
from torch import nn
from torch.nn import functional

from benchmarks.calibration.sections import put

CLASSES = (5, 10, 20, 50, 100, 200, 400)
WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16, 32)
EACH, FEATURES, HIDDEN = 20, 64, 256


def accuracy(classes: int, width: int, steps: int, *, seed: int = 0) -> float:
    """Share of correct answers on the training set after `steps` updates; width 0 is the net without the layer."""
    torch.manual_seed(seed)
    centres = torch.randn(classes, FEATURES)
    labels = torch.arange(classes).repeat_interleave(EACH)
    inputs = centres[labels] + 0.3 * torch.randn(len(labels), FEATURES)
    narrow = [nn.Linear(HIDDEN, width), nn.ReLU(), nn.Linear(width, HIDDEN), nn.ReLU()] if width else []
    model = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), *narrow, nn.Linear(HIDDEN, classes))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(steps):
        rows = torch.randint(0, len(labels), (256,))
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        return float((model(inputs).argmax(1) == labels).double().mean())


def table(steps: int, seeds: int) -> str:
    """One row for each number of classes: accuracy by width, relative to the net without the layer."""
    rows = []
    for classes in CLASSES:
        whole = sum(accuracy(classes, 0, steps, seed=seed) for seed in range(seeds))
        shares = [sum(accuracy(classes, width, steps, seed=seed) for seed in range(seeds)) / whole for width in WIDTHS]
        rows.append([classes, *(f"{share:.2f}" for share in shares)])
        print(rows[-1], flush=True)
    return tabulate(rows, ("classes", *WIDTHS), tablefmt="github", disable_numparse=True)


def main() -> None:
    """Measure, print, and with --write keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    text = table(arguments.steps, arguments.seeds)
    print(text)
    if arguments.write:
        put("bottleneck", text)


if __name__ == "__main__":
    main()
