"""DAT014: class weights that grow with the frequency of their class."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import nnlint

LABELS = torch.tensor([0] * 150 + [1] * 60 + [2] * 30)
COUNTS = torch.bincount(LABELS).float()


def check(loss: nn.Module, targets: torch.Tensor, outputs: int) -> list[Any]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, outputs))
    case = {"model": model, "inputs": torch.randn(len(targets), 6), "targets": targets, "loss": loss}
    return list(nnlint.check(case, select=["DAT014"]).results[0].findings)


@pytest.mark.parametrize(
    ("weight", "faulty"),
    [
        (COUNTS / 80, True),
        (COUNTS.sqrt(), True),
        ((80 / COUNTS)[[2, 1, 0]], True),
        ((80 / COUNTS)[[1, 2, 0]], True),
        (80 / COUNTS, False),
        ((80 / COUNTS).sqrt(), False),
        (torch.ones(3), False),
        (torch.tensor([1.0, 1.1, 0.9]), False),
        (torch.tensor([1.0, 5.0, 1.0]), False),
    ],
)
def test_weights_of_classes(weight: torch.Tensor, *, faulty: bool) -> None:
    found = check(nn.CrossEntropyLoss(weight=weight), LABELS, 3)
    assert bool(found) is faulty
    if found:
        assert (
            found[0].evidence["share_of_weight"] < found[0].evidence["share_of_labels"]
            or found[0].evidence["class"] == 2
        )


def test_balanced_or_few_labels_say_nothing() -> None:
    assert not check(nn.CrossEntropyLoss(weight=torch.tensor([3.0, 1.0])), torch.arange(60) % 2, 2)
    assert not check(nn.CrossEntropyLoss(weight=torch.tensor([3.0, 1.0])), torch.tensor([0, 0, 0, 1, 1, 0, 1, 0]), 2)


@pytest.mark.parametrize(("weight", "faulty"), [(1 / 9, True), (9.0, False), (1.0, False), (3.0, False), (0.0, True)])
def test_weight_of_positives(weight: float, *, faulty: bool) -> None:
    targets = (torch.arange(200) % 10 == 0).float()[:, None]
    assert bool(check(nn.BCEWithLogitsLoss(pos_weight=torch.tensor([weight])), targets, 1)) is faulty
