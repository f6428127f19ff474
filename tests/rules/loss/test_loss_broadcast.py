"""LOS015: shapes of prediction and target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.finding import Level
from nnlint.testing import Mlp, findings, mlp_setup, skipped

CODE = "LOS015"
Y = torch.randn(40, generator=torch.Generator().manual_seed(0))


def squared(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return ((output - targets) ** 2).mean()


@pytest.mark.parametrize(
    "loss",
    [
        nn.MSELoss(),
        F.l1_loss,
        nn.SmoothL1Loss(),
        nn.HuberLoss(),
        nn.PoissonNLLLoss(),
        squared,
        lambda o, t: (t - o).abs().mean(),
    ],
)
def test_every_prediction_against_every_target(loss: Callable[..., Any]) -> None:
    (found,) = findings(CODE, mlp_setup(None, loss, Y, outputs=1))
    assert found.level is Level.ERROR
    assert found.module == "fc2"
    assert found.evidence["terms"] == [40, 40]


@pytest.mark.parametrize(
    ("head", "targets", "outputs", "level"),
    [
        (lambda z: z.squeeze(1), Y.unsqueeze(1), 1, Level.ERROR),  # (N,) and (N, 1)
        (None, Y, 40, Level.ERROR),  # (N, N): the batch is laid along the outputs
        (None, Y.unsqueeze(1), 5, Level.WARNING),  # the target repeated over the outputs
        (None, torch.randn(40, 5), 1, Level.ERROR),  # the prediction repeated
    ],
)
def test_other_mismatches(head: Callable[..., Any] | None, targets: torch.Tensor, outputs: int, level: Level) -> None:
    (found,) = findings(CODE, mlp_setup(head, F.mse_loss, targets, outputs=outputs))
    assert found.level is level


@pytest.mark.parametrize(
    ("head", "loss", "targets", "outputs"),
    [
        (None, F.mse_loss, Y.unsqueeze(1), 1),
        (lambda z: z.squeeze(1), F.mse_loss, Y, 1),
        (None, lambda o, t: F.mse_loss(o, torch.tensor(1.0)), Y, 1),  # a scalar target, as in a GAN
        (
            None,
            lambda o, t: F.mse_loss(o, t, reduction="none").mul(torch.rand(40, 1)).mean(),
            torch.randn(40, 5),
            5,
        ),  # weights
        (None, squared, Y.unsqueeze(1), 1),
        (None, lambda o, t: (t.unsqueeze(1) - o).abs().mean(), Y, 7),  # quantiles: one target, seven predictions
        (None, lambda o, t: (t.unsqueeze(1) - t.unsqueeze(0) - (o - o.T)).abs().mean(), Y, 1),  # pairwise on purpose
        (None, F.cross_entropy, torch.arange(40) % 5, 5),
    ],
)
def test_intended_shapes_are_silent(
    head: Callable[..., Any] | None, loss: Callable[..., Any], targets: torch.Tensor, outputs: int
) -> None:
    assert not findings(CODE, mlp_setup(head, loss, targets, outputs=outputs))


def test_static() -> None:
    assert findings(CODE, mlp_setup(None, F.mse_loss, Y, outputs=1), static=True)


def test_made_up_targets_are_not_judged() -> None:
    torch.manual_seed(0)
    assert skipped(CODE, {"model": Mlp(1), "inputs": torch.randn(8, 12), "loss": nn.MSELoss()})
