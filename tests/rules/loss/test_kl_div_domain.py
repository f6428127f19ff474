"""LOS022: what kl_div may be given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.finding import Level
from nnlint.testing import findings, mlp_setup

CODE = "LOS022"
P = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)).softmax(1)
BATCHMEAN = nn.KLDivLoss(reduction="batchmean")
LOG_TARGET = nn.KLDivLoss(reduction="batchmean", log_target=True)


@pytest.mark.parametrize(
    ("head", "loss", "targets", "words"),
    [
        (None, BATCHMEAN, P, "input"),
        (nn.Softmax(dim=1), BATCHMEAN, P, "input"),
        (nn.LogSoftmax(dim=1), BATCHMEAN, P.log(), "target"),
        (nn.LogSoftmax(dim=1), BATCHMEAN, 3 * P, "target"),
        (nn.LogSoftmax(dim=1), LOG_TARGET, P, "target"),
    ],
)
def test_out_of_domain(head: nn.Module | None, loss: nn.Module, targets: torch.Tensor, words: str) -> None:
    (found,) = findings(CODE, mlp_setup(head, loss, targets))
    assert found.level is Level.ERROR
    assert f"the {words} is not" in found.message


@pytest.mark.parametrize(
    ("head", "loss", "targets"),
    [
        (nn.LogSoftmax(dim=1), BATCHMEAN, P),
        (nn.LogSoftmax(dim=1), LOG_TARGET, P.log()),
        (lambda z: torch.log(z.softmax(1) + 1e-8), BATCHMEAN, P),
        (nn.LogSoftmax(dim=1), BATCHMEAN, F.one_hot(torch.arange(40) % 5, 5).float()),
        (nn.LogSoftmax(dim=1), BATCHMEAN, torch.where(torch.arange(40)[:, None] % 4 == 0, 0.0, P)),  # padding rows
        (nn.LogSoftmax(dim=1), nn.KLDivLoss(reduction="sum"), P),
    ],
)
def test_distributions_are_silent(head: Callable[..., Any], loss: nn.Module, targets: torch.Tensor) -> None:
    assert not findings(CODE, mlp_setup(head, loss, targets))


def test_heatmaps_are_distributions_over_all_positions() -> None:
    torch.manual_seed(0)
    maps = torch.rand(4, 64).softmax(1).view(4, 8, 8)
    model = nn.Sequential(nn.Conv2d(3, 1, 3, padding=1), nn.Flatten(), nn.LogSoftmax(dim=1), nn.Unflatten(1, (8, 8)))
    assert not findings(CODE, {"model": model, "inputs": torch.randn(4, 3, 8, 8), "targets": maps, "loss": BATCHMEAN})


@pytest.mark.parametrize("loss", [nn.KLDivLoss(), F.kl_div])
def test_the_default_reduction_is_info(loss: Callable[..., Any]) -> None:
    (found,) = findings(CODE, mlp_setup(nn.LogSoftmax(dim=1), loss, P))
    assert found.level is Level.INFO
