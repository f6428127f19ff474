"""GRD006 half-precision-underflow: what fp16 rounds to zero, and who need not care."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nnlint

IMAGES = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Squared(nn.Module):
    """A loss that is a layer."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return self.factor * (output - target).pow(2).mean()


def found(loss: Callable[[Any, Any], Any] | nn.Module, **fields: Any) -> list[Any]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
    setup = {"model": model, "inputs": IMAGES, "targets": 0.1 * IMAGES, "loss": loss, "precision": "fp16", **fields}
    return nnlint.check(setup, select=["GRD006"]).findings


@pytest.mark.parametrize(
    "loss",
    [
        lambda output, target: 1e-4 * F.mse_loss(output, target),
        lambda output, target: F.l1_loss(output, target).div(1e5),
        lambda output, target: torch.einsum("bchw,bchw->", output - target, output - target) * 1e-8,
        Squared(1e-4),
        lambda output, target: (F.smooth_l1_loss(output, target), "logged")[0] / 20_000,
    ],
    ids=["factor", "division", "einsum", "module", "tuple"],
)
def test_gradients_below_the_smallest_number_of_fp16(loss: Any) -> None:
    (finding,) = found(loss)
    assert finding.evidence["share"] > finding.evidence["limit"]
    assert finding.evidence["smallest_rms"] < 2.0**-24


@pytest.mark.parametrize(
    ("loss", "fields"),
    [
        (lambda output, target: 1e-4 * F.mse_loss(output, target), {"grad_scaler": True}),
        (lambda output, target: 1e-4 * F.mse_loss(output, target), {"precision": "bf16"}),
        (lambda output, target: 1e-4 * F.mse_loss(output, target), {"precision": "fp32"}),
        (F.mse_loss, {}),
        (Squared(10.0), {}),
    ],
    ids=["scaled", "bfloat16", "float32", "ordinary", "ordinary module"],
)
def test_gradients_that_fit(loss: Any, fields: dict[str, Any]) -> None:
    assert not found(loss, **fields)
