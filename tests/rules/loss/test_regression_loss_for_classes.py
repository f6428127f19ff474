"""LOS014 regression-loss-for-classes: squared or absolute error on class labels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Mlp, findings, mlp_setup
from tests.rules.loss.target_forms import LABELS, MULTI_HOT, ONE_HOT, SOFT


@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.L1Loss(), nn.SmoothL1Loss(), nn.HuberLoss()])
def test_regression_loss_on_one_hot_rows(loss: nn.Module) -> None:
    assert findings("LOS014", mlp_setup(nn.Softmax(dim=1), loss, ONE_HOT))


def test_regression_loss_on_integer_labels() -> None:
    case = mlp_setup(lambda z: z.squeeze(1), F.mse_loss, LABELS, outputs=1)
    assert findings("LOS014", case)


@pytest.mark.parametrize(
    ("targets", "outputs", "more"),
    [
        (LABELS.float().unsqueeze(1), 1, {}),  # an ordinal scale, given as floats
        (torch.randn(40, 5), 5, {}),
        (MULTI_HOT, 5, {}),
        (SOFT, 5, {}),
        (torch.randint(100, 9000, (40, 1)), 1, {}),  # amounts
        (ONE_HOT, 5, {"task": "regression"}),
    ],
)
def test_regression_targets_are_silent(targets: torch.Tensor, outputs: int, more: dict[str, Any]) -> None:
    assert not findings("LOS014", mlp_setup(None, F.mse_loss, targets, outputs=outputs, **more))


def test_autoencoder_of_one_hot_rows_is_silent() -> None:
    torch.manual_seed(0)
    rows = F.one_hot(torch.arange(40) % 12, 12).float()
    assert not findings("LOS014", {"model": Mlp(12), "inputs": rows, "targets": rows, "loss": nn.MSELoss()})
