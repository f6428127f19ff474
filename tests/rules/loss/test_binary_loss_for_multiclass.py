"""LOS012 binary-loss-for-multiclass: binary cross-entropy on targets with exactly one class each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Mlp, findings, mlp_setup, skipped
from tests.rules.loss.target_forms import LABELS, MULTI_HOT, ONE_HOT, SOFT


@pytest.mark.parametrize(
    ("head", "loss"),
    [
        (None, nn.BCEWithLogitsLoss()),
        (torch.sigmoid, nn.BCELoss()),
        (None, nn.MultiLabelSoftMarginLoss()),
        (torch.sigmoid, F.binary_cross_entropy),
    ],
)
def test_binary_loss_on_one_hot_rows(head: Callable[..., Any] | None, loss: Callable[..., Any]) -> None:
    assert findings("LOS012", mlp_setup(head, loss, ONE_HOT))


@pytest.mark.parametrize(
    ("targets", "outputs", "more"),
    [
        (MULTI_HOT, 5, {}),
        (SOFT, 5, {}),
        (ONE_HOT, 5, {"declared": frozenset({"one-vs-rest"})}),
        (ONE_HOT, 5, {"task": "multilabel"}),
        (F.one_hot(LABELS.clamp(max=1), 2).float(), 2, {}),
        ((LABELS == 0).float().unsqueeze(1), 1, {}),
        (torch.eye(5)[[2] * 40], 5, {}),  # one class only: no sign of a choice
        (ONE_HOT[:8], 5, {}),  # too few rows
        (ONE_HOT[:31], 5, {}),  # multi-label rows, most of them single, are so by chance
    ],
)
def test_binary_loss_on_other_targets_is_silent(targets: torch.Tensor, outputs: int, more: dict[str, Any]) -> None:
    assert not findings("LOS012", mlp_setup(None, nn.BCEWithLogitsLoss(), targets, outputs=outputs, **more))


def test_one_hot_masks() -> None:
    torch.manual_seed(0)
    masks = F.one_hot(torch.randint(0, 3, (4, 8, 8)), 3).permute(0, 3, 1, 2).float()
    case = {"model": nn.Conv2d(3, 3, 3, padding=1), "inputs": torch.randn(4, 3, 8, 8), "targets": masks}
    assert findings("LOS012", case | {"loss": nn.BCEWithLogitsLoss()})
    assert not findings("LOS012", case | {"loss": nn.CrossEntropyLoss()})


@pytest.mark.parametrize("code", ["LOS012", "LOS013", "LOS014", "LOS026"])
def test_made_up_targets_are_not_judged(code: str) -> None:
    torch.manual_seed(0)
    assert skipped(code, {"model": Mlp(), "inputs": torch.randn(20, 12), "loss": nn.CrossEntropyLoss()})


@pytest.mark.parametrize("code", ["LOS012", "LOS013", "LOS014", "LOS026"])
def test_a_static_check_says_that_it_cannot_tell(code: str) -> None:
    assert "static" in skipped(code, mlp_setup(None, nn.BCEWithLogitsLoss(), ONE_HOT), static=True)
