"""LOS011 one-logit-cross-entropy: cross-entropy with a single logit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnlint.testing import findings, mlp_setup
from tests.rules.loss.class_counts import LABELS


@pytest.mark.parametrize("targets", [torch.zeros(40, dtype=torch.long), torch.rand(40, 1), LABELS.clamp(max=1)])
def test_one_logit(targets: torch.Tensor) -> None:
    (found,) = findings("LOS011", mlp_setup(None, nn.CrossEntropyLoss(), targets, outputs=1))
    assert found.module == "fc2"


def test_one_channel_segmentation() -> None:
    torch.manual_seed(0)
    case = {
        "model": nn.Conv2d(3, 1, 3, padding=1),
        "inputs": torch.randn(4, 3, 8, 8),
        "targets": torch.zeros(4, 8, 8, dtype=torch.long),
        "loss": nn.CrossEntropyLoss(),
    }
    assert findings("LOS011", case)


def test_unbatched_logits_are_classes() -> None:
    torch.manual_seed(0)
    case = {
        "model": nn.Linear(12, 5),
        "inputs": torch.randn(12),
        "targets": torch.tensor(3),
        "loss": nn.CrossEntropyLoss(),
    }
    assert not findings("LOS011", case)
    assert not findings("LOS009", case)


def test_several_logits_are_silent() -> None:
    assert not findings("LOS011", mlp_setup(None, nn.CrossEntropyLoss()))
