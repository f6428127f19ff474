"""Healthy models times ordinary optimizers with --deep: no rule about training may accuse one. And the wrong heads: all found.

    python -m benchmarks.calibration.overfit [--samples 32] [--seeds 1] [--heads]

Prints the grid of the overfit probe (steps to fit, or how far it came) and every finding of the rules that rest on training;
with --heads the plateaus of domain knowledge instead. Tables: docs/calibration.md#overfit.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from tabulate import tabulate
from torch import nn
from torch.nn import functional

import nnlint
from benchmarks.calibration.grid import MODELS, OPTIMIZERS, setups

#: The rules that rest on the steps and on the longer probes.
RULES = ("TRN", "OPT003", "OPT004", "OPT009", "GRD003", "GRD005", "GRD006", "GRD007", "SIG006", "SIG008")

HEADS: dict[str, tuple[Callable[[Any], Any], nn.Module]] = {
    "logits": (lambda z: z, nn.CrossEntropyLoss()),
    "log_softmax": (lambda z: functional.log_softmax(z, dim=1), nn.CrossEntropyLoss()),
    "softmax": (lambda z: z.softmax(dim=1), nn.CrossEntropyLoss()),
    "sigmoid": (torch.sigmoid, nn.CrossEntropyLoss()),
    "relu": (torch.relu, nn.CrossEntropyLoss()),
    "tanh": (torch.tanh, nn.CrossEntropyLoss()),
    "logits into NLL": (lambda z: z, nn.NLLLoss()),
    "zero": (lambda z: z * 0.0, nn.CrossEntropyLoss()),
}


class Headed(nn.Module):
    """A multilayer perceptron with a head."""

    def __init__(self, head: Callable[[Any], Any], classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, classes))
        self.head = head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def reached(report: nnlint.Report) -> str:
    """The overfit probe in a few words."""
    run = report.results[0].measurements["overfit"]
    if "skipped" in run:
        return f"skipped: {run['skipped']}"
    if run["verdict"] == "fit":
        return f"fit in {run['steps_to_fit']}"
    return f"{run['verdict']}: {run['initial_loss']:.3g} to {run['best_loss']:.3g} in {run['steps']}"


def grid(samples: int, seeds: int) -> None:
    cells: dict[str, dict[str, str]] = {name: {} for name in MODELS}
    alarms = runs = 0
    for seed in range(seeds):
        for model, optimizer, fields in setups(OPTIMIZERS, samples=samples, seed=seed):
            start = time.perf_counter()
            report = nnlint.check(fields, deep=True, seed=seed, select=RULES)
            runs += 1
            alarms += bool(report.findings)
            cells[model][optimizer] = reached(report)
            for found in report.findings:
                print(f"{model}, {optimizer}, seed {seed}: {found.level.value} {found.code} {found.message}")
            spent = time.perf_counter() - start
            print(f"{model}, {optimizer}, seed {seed}: {cells[model][optimizer]} ({spent:.0f} s)", flush=True)
    rows = [[model, *(by_optimizer.get(name, "") for name in OPTIMIZERS)] for model, by_optimizer in cells.items()]
    print(tabulate(rows, headers=[f"{samples} samples, last seed", *OPTIMIZERS]))
    print(f"false alarms: {alarms} of {runs} runs")


def heads() -> None:
    rows = []
    for name, (head, loss) in HEADS.items():
        for classes in (3, 10, 100):
            torch.manual_seed(0)
            model = Headed(head, classes)
            fields = {
                "model": model,
                "inputs": torch.randn(64, 64),
                "targets": torch.arange(64) % classes,
                "loss": loss,
                "optimizer": torch.optim.Adam(model.parameters(), lr=1e-2),
            }
            report = nnlint.check(fields, probes=("overfit",), select=("TRN001",))
            known = report.results[0].measurements["overfit"].get("known_plateau") or ""
            rows.append([name, classes, reached(report), known, ", ".join(found.code for found in report.findings)])
    print(tabulate(rows, headers=["head", "classes", "overfit probe", "named", "findings"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--heads", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if options.heads:
        heads()
    else:
        grid(options.samples, options.seeds)


if __name__ == "__main__":
    main()
