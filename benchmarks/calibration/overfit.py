"""The overfit probe on wrong heads: what its plateaus are, and which of them it names. The healthy nets: grid.py.

    python -m benchmarks.calibration.overfit

Table: docs/evidence/calibration.md#plateaus.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from tabulate import tabulate
from torch import nn
from torch.nn import functional

import nnlint
from benchmarks.calibration.grid import reached

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
    print(tabulate(rows, headers=["head", "classes", "overfit probe", "named", "findings"], tablefmt="github"))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    heads()
