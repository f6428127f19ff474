"""What the spectral radius of the recurrent matrix does to learning, by the kind of cell (INI010).

    python -m benchmarks.calibration.recurrent_scale [--steps 150] [--write]

A net of 32 units reads 20 letters and names the first, or the one in the middle; its hidden-to-hidden matrix is normal with a
deviation of radius / sqrt(32). Prints the loss over the last 20 updates (Adam 3e-3, two seeds); chance is ln 8 = 2.08.
"""

from __future__ import annotations

import argparse

import torch
from tabulate import tabulate
from torch import nn
from torch.nn import functional

from benchmarks.calibration.sections import put

CELLS: dict[str, type[nn.RNNBase]] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}
RADII = (0.0, 1.5, 3.0, 4.0, 6.0, 8.0)
UNITS, LETTERS, LENGTH, LAST = 32, 8, 20, 20


def reached(cell: str, place: int, radius: float, steps: int, *, seed: int) -> float:
    """Mean loss of the last updates; radius 0 leaves torch's own initialization."""
    torch.manual_seed(seed)
    table, rnn, head = nn.Embedding(LETTERS, 16), CELLS[cell](16, UNITS, batch_first=True), nn.Linear(UNITS, LETTERS)
    if radius:
        nn.init.normal_(rnn.weight_hh_l0, std=radius / UNITS**0.5)
    optimizer = torch.optim.Adam([*table.parameters(), *rnn.parameters(), *head.parameters()], lr=3e-3)
    losses = []
    for _ in range(steps):
        letters = torch.randint(0, LETTERS, (64, LENGTH))
        loss = functional.cross_entropy(head(rnn(table(letters))[0][:, -1]), letters[:, place])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses[-LAST:]) / LAST


def main() -> None:
    """Measure, print, and with --write keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for cell in CELLS:
        for name, place in (("first letter", 0), ("middle", 10)):
            cells = [
                ", ".join(f"{reached(cell, place, radius, arguments.steps, seed=seed):.2f}" for seed in (0, 1))
                for radius in RADII
            ]
            rows.append([cell, name, *cells])
            print(rows[-1], flush=True)
    head = ("cell", "task", "torch's own (0.58)", *(f"radius {radius:g}" for radius in RADII[1:]))
    text = tabulate(rows, head, tablefmt="github", disable_numparse=True)
    print(text)
    if arguments.write:
        put("gated recurrent-scale", text)


if __name__ == "__main__":
    main()
