"""LOS033 ctc-preconditions: CTC whose blank, targets or lengths do not go together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import findings

SCORES = (20, 12, 6)  # time, samples, classes


LABELS = torch.randint(1, 6, (12, 4), generator=torch.Generator().manual_seed(0))


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, SCORES[2])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x).log_softmax(-1).transpose(0, 1)


def ctc(targets: torch.Tensor, *, steps: Any = (20,) * 12, lengths: Any = (4,) * 12, **more: Any) -> dict[str, Any]:
    loss = lambda scores, y: F.ctc_loss(scores, y, steps, lengths, **more)  # noqa: E731
    return {"model": Reader(), "inputs": torch.randn(12, 20, 8), "targets": targets, "loss": loss}


def test_conditions_that_hold() -> None:
    assert not findings("LOS033", ctc(LABELS))
    assert not findings("LOS033", ctc(LABELS - 1, blank=5))
    assert not findings("LOS033", ctc(LABELS.reshape(-1)))
    assert not findings("LOS033", ctc(LABELS.clone().index_fill_(1, torch.tensor([3]), 0), lengths=(3,) * 12))


@pytest.mark.parametrize("case", [{"targets": LABELS - 1}, {"targets": LABELS, "blank": 3}, {"targets": (LABELS - 1).reshape(-1)}])
def test_blank_among_the_targets(case: dict[str, Any]) -> None:
    (found,) = findings("LOS033", ctc(**case))
    assert "blank" in found.message
    assert 0 < found.evidence["share"] <= 1


def test_repeated_labels_need_a_step_between() -> None:
    same = torch.full((12, 4), 2)
    assert not findings("LOS033", ctc(same, steps=(7,) * 12))
    (found,) = findings("LOS033", ctc(same, steps=(6,) * 12))
    assert found.evidence["steps_needed"] == 7
    (hidden,) = findings("LOS033", ctc(same, steps=(6,) * 12, zero_infinity=True))
    assert "silently" in hidden.message


def test_lengths_beyond_the_scores() -> None:
    (found,) = findings("LOS033", ctc(LABELS, steps=(40,) * 12))
    assert "20 steps" in found.message
