"""LOS021 and LOS024: how a loss is reduced, and its sign."""

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

LABELS = torch.arange(40) % 5
Y = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))


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


@pytest.mark.parametrize(
    ("head", "loss", "targets"),
    [
        (None, lambda o, t: F.binary_cross_entropy_with_logits(o, t, weight=-torch.ones(5)), torch.ones(40, 5)),
        (None, nn.CrossEntropyLoss(), -F.one_hot(LABELS, 5).float()),
        (nn.Softmax(dim=1), nn.NLLLoss(), LABELS),
        (lambda z: 30 * z.abs(), lambda o, t: F.kl_div(o, t, reduction="batchmean"), Y.softmax(1)),
    ],
)
def test_negative_values(head: Callable[..., Any] | None, loss: Callable[..., Any], targets: torch.Tensor) -> None:
    assert findings("LOS024", mlp_setup(head, loss, targets))


@pytest.mark.parametrize(
    ("head", "loss", "targets"),
    [
        (None, nn.CrossEntropyLoss(), LABELS),
        (None, lambda o, t: F.gaussian_nll_loss(o, t, torch.full((40, 5), 1e-4)) * 1e-9 - 3, Y),
        (None, lambda o, t: -(o * t).mean() - 5, Y),
        (None, lambda o, t: -F.cosine_similarity(o, t).mean(), Y),
        (None, nn.PoissonNLLLoss(), 20 * Y.abs()),
        (None, lambda o, t: F.mse_loss(o, o.detach()) - 4, Y),
    ],
)
def test_losses_that_may_be_negative_are_silent(
    head: Callable[..., Any] | None, loss: Callable[..., Any], targets: torch.Tensor
) -> None:
    assert not findings("LOS024", mlp_setup(head, loss, targets))


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (lambda o, t: -F.cross_entropy(o, t), LABELS),
        (lambda o, t: -1.0 * F.mse_loss(o, t, reduction="none").mean(), Y),
    ],
)
def test_the_negative_of_a_loss(loss: Callable[..., Any], targets: torch.Tensor) -> None:
    (finding,) = findings("LOS024", mlp_setup(None, loss, targets))
    assert "is the negative of" in finding.message


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (lambda o, t: -F.binary_cross_entropy_with_logits(o, t), torch.zeros(40, 5)),  # the generator of a pair
        (lambda o, t: F.cross_entropy(o, t) - 0.1 * torch.special.entr(o.softmax(1)).sum(1).mean() - 2, LABELS),
        (lambda o, t: 2.0 * F.cross_entropy(o, t), LABELS),
    ],
)
def test_a_minus_sign_that_is_meant(loss: Callable[..., Any], targets: torch.Tensor) -> None:
    assert not findings("LOS024", mlp_setup(None, loss, targets))


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
