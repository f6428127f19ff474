"""LOS009 too-few-classes: labels that have no logit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Mlp, findings, mlp_setup, skipped
from tests.rules.loss.class_counts import LABELS


@pytest.mark.parametrize(
    ("labels", "fix"),
    [
        (LABELS + 1, "subtract 1"),
        (LABELS * 3, "13 outputs"),
        (torch.where(LABELS == 2, -1, LABELS), "ignore_index=-1"),
        (torch.where(LABELS == 2, 255, LABELS), "mask"),
    ],
)
@pytest.mark.parametrize(
    ("head", "loss"),
    [(None, nn.CrossEntropyLoss()), (nn.LogSoftmax(dim=1), nn.NLLLoss()), (None, nn.MultiMarginLoss())],
)
def test_labels_without_a_logit(
    labels: torch.Tensor, fix: str, head: nn.Module | None, loss: Callable[..., Any]
) -> None:
    (found,) = findings("LOS009", mlp_setup(head, loss, labels))
    assert fix in found.fix
    assert found.module == "fc2"
    assert found.evidence["classes"] == 5


@pytest.mark.parametrize(
    ("loss", "labels"),
    [
        (nn.CrossEntropyLoss(), LABELS),
        (nn.CrossEntropyLoss(ignore_index=255), torch.where(LABELS == 2, 255, LABELS)),
        (nn.CrossEntropyLoss(), torch.where(LABELS == 2, -100, LABELS)),
        (nn.CrossEntropyLoss(), F.one_hot(LABELS, 5).float()),
        (nn.CrossEntropyLoss(), torch.zeros(40, dtype=torch.long)),
    ],
)
def test_labels_with_a_logit_are_silent(loss: nn.Module, labels: torch.Tensor) -> None:
    assert not findings("LOS009", mlp_setup(None, loss, labels))


def test_made_up_labels_are_not_judged() -> None:
    torch.manual_seed(0)
    case = {"model": Mlp(), "inputs": torch.randn(8, 12), "loss": nn.CrossEntropyLoss()}
    assert skipped("LOS009", case) == "needs real targets; nnlint generated them"
