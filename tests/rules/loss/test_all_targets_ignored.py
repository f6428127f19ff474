"""LOS025 all-targets-ignored: every target is ignored, or has weight 0."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import findings, mlp_setup

LABELS = torch.arange(40) % 5


@pytest.mark.parametrize(
    ("loss", "labels", "words"),
    [
        (nn.CrossEntropyLoss(), torch.full((40,), -100), "ignore_index"),
        (nn.CrossEntropyLoss(ignore_index=0), torch.zeros(40, dtype=torch.long), "ignore_index"),
        (nn.CrossEntropyLoss(reduction="sum"), torch.full((40,), -100), "ignore_index"),
        (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1, 0, 1, 1])), torch.full((40,), 2), "class weights"),
        (
            nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1, 0, 1, 1]), reduction="sum"),
            torch.full((40,), 2),
            "class weights",
        ),
    ],
)
def test_nothing_counts(loss: nn.Module, labels: torch.Tensor, words: str) -> None:
    (found,) = findings("LOS025", mlp_setup(None, loss, labels))
    assert words in found.message


@pytest.mark.parametrize(
    ("loss", "labels"),
    [
        (nn.CrossEntropyLoss(), LABELS),
        (nn.CrossEntropyLoss(), torch.where(LABELS < 4, -100, LABELS)),
        (nn.CrossEntropyLoss(weight=torch.tensor([1.0, 1, 0, 1, 1])), LABELS),
        (nn.CrossEntropyLoss(), F.one_hot(LABELS, 5).float()),
    ],
)
def test_something_counts(loss: nn.Module, labels: torch.Tensor) -> None:
    assert not findings("LOS025", mlp_setup(None, loss, labels))
