"""LOS033, LOS034, LOS037: CTC's conditions, critics, focal weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import findings, mlp_setup

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


@pytest.mark.parametrize(
    ("loss", "faulty"),
    [
        (lambda s, t: s[t > 0].mean() - s[t < 0].mean(), True),
        (lambda s, t: (s * t).mean(), True),
        (lambda s, t: -(s[t > 0].mean() - s[t < 0].mean()) + 0.1 * s.square().mean(), True),
        (lambda s, t: -torch.log(s[t > 0]).mean() - torch.log(1 - s[t < 0]).mean(), False),
        (lambda s, t: (s[t > 0] - 1).square().mean() + s[t < 0].square().mean(), False),
        (lambda s, t: s.mean() + 0 * t.mean(), False),
    ],
)
@pytest.mark.parametrize("head", [nn.Sigmoid(), nn.Tanh(), None])
def test_critics(loss: Any, head: nn.Module | None, *, faulty: bool) -> None:
    sides = (2 * (torch.arange(40) % 2) - 1).float()[:, None]
    found = findings("LOS034", mlp_setup(head, loss, sides, outputs=1))
    assert bool(found) is (faulty and head is not None)


@pytest.mark.parametrize(
    ("loss", "faulty"),
    [
        (lambda ce: (1 - torch.exp(-ce)) ** 2 * ce, True),
        (lambda ce: ce * (1 - torch.exp(-ce.detach())), True),
        (lambda ce: ce.mean() * (1 - (-ce.mean()).exp()), True),
        (lambda ce: ((1 - torch.exp(-ce)) ** 2 * ce).mean(), None),
        (lambda ce: ce.mean() + 0.1 * torch.exp(-ce.mean()), False),
    ],
)
def test_focal_weights(loss: Any, *, faulty: bool | None) -> None:
    for reduction in ("mean", "none"):
        if reduction == "none" and faulty:
            continue
        made = lambda o, y, reduction=reduction: loss(F.cross_entropy(o, y, reduction=reduction))  # noqa: E731
        expected = faulty if faulty is not None else reduction == "mean"
        assert bool(findings("LOS037", mlp_setup(None, made))) is expected
