"""LOS021 sum-reduction: loss summed, not averaged, over the batch."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.finding import Level
from nnlint.testing import findings, mlp_setup
from tests.rules.loss.reductions_and_signs import LABELS, Y


def bound(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """An evidence lower bound: a sum of squares and a divergence."""
    return F.mse_loss(output, targets, reduction="sum") - 0.5 * torch.sum(1 - output.pow(2))


@pytest.mark.parametrize(
    ("loss", "targets", "level"),
    [
        (nn.CrossEntropyLoss(reduction="sum"), LABELS, Level.WARNING),
        (lambda o, t: F.cross_entropy(o, t, reduction="none").sum(), LABELS, Level.WARNING),
        (lambda o, t: ((o - t) ** 2).sum(), Y, Level.WARNING),
        (lambda o, t: 2 * F.mse_loss(o, t, reduction="sum"), Y, Level.WARNING),
        (bound, Y, Level.INFO),
    ],
)
def test_sums(loss: Callable[..., Any], targets: torch.Tensor, level: Level) -> None:
    found = findings("LOS021", mlp_setup(None, loss, targets))
    assert [item.level for item in found] == [level]


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (nn.CrossEntropyLoss(), LABELS),
        (lambda o, t: F.cross_entropy(o, t, reduction="sum") / len(t), LABELS),
        (lambda o, t: F.cross_entropy(o, t, reduction="sum") * (1 / 40), LABELS),
        (lambda o, t: F.mse_loss(o, t, reduction="none").sum(1).mean(), Y),
        (lambda o, t: F.mse_loss(o, t, reduction="none").div(40).sum(), Y),
        (lambda o, t: torch.stack([F.mse_loss(o, t), F.l1_loss(o, t)]).sum(), Y),
        (lambda o, t: F.mse_loss(o, t) + 1e-4 * sum((p**2).sum() for p in [o[:0]]), Y),
        (lambda o, t: (F.cross_entropy(o, t, reduction="none") * torch.full((40,), 1 / 40)).sum(), LABELS),
    ],
)
def test_means_are_silent(loss: Callable[..., Any], targets: torch.Tensor) -> None:
    assert not findings("LOS021", mlp_setup(None, loss, targets))


LIBRARY = """
from torch import nn

class Net(nn.Module):
    def __init__(self, inside):
        super().__init__()
        self.body, self.inside = nn.Linear(12, 5), inside

    def forward(self, x, labels=None):
        logits = self.body(x)
        return nn.functional.cross_entropy(logits, labels, reduction="sum") if self.inside else logits
"""


@pytest.mark.parametrize(("inside", "level"), [(True, Level.INFO), (False, Level.WARNING)])
def test_the_sum_of_a_library_and_that_of_its_user(tmp_path: Path, *, inside: bool, level: Level) -> None:
    """A library's own loss is not the user's to change; the loss that the user gives is."""
    file = tmp_path / "pretend_losses.py"
    file.write_text(LIBRARY, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("pretend_losses", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["pretend_losses"] = module
    try:
        spec.loader.exec_module(module)
        case: dict[str, Any] = {"model": module.Net(inside), "inputs": torch.randn(40, 12)}
        if inside:
            case |= {"inputs": (case["inputs"], LABELS), "loss": lambda loss: loss}
        else:
            case |= {"targets": LABELS, "loss": nn.CrossEntropyLoss(reduction="sum")}
        assert [item.level for item in findings("LOS021", case, libraries=["pretend_losses"])] == [level]
    finally:
        del sys.modules["pretend_losses"]
