"""LOS013 softmax-for-multilabel: multi-hot targets through a softmax."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Mlp, findings, mlp_setup
from tests.rules.loss.target_forms import LABELS, MIXUP, MULTI_HOT, ONE_HOT, SMOOTH, SOFT


@pytest.mark.parametrize(
    ("head", "loss"),
    [(None, nn.CrossEntropyLoss()), (nn.Softmax(dim=1), nn.BCELoss()), (nn.Softmax(dim=1), nn.MSELoss())],
)
def test_several_labels_through_a_softmax(head: Callable[..., Any] | None, loss: Callable[..., Any]) -> None:
    assert findings("LOS013", mlp_setup(head, loss, MULTI_HOT))


@pytest.mark.parametrize(
    "targets", [LABELS, ONE_HOT, SOFT, MIXUP, SMOOTH, torch.where(LABELS[:, None] == 2, 0.0, ONE_HOT)]
)
def test_distributions_are_silent(targets: torch.Tensor) -> None:
    assert not findings("LOS013", mlp_setup(None, nn.CrossEntropyLoss(), targets))


def _sum(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return -(F.log_softmax(logits, dim=1) * y).sum(1).mean()


def _of_a_logarithm(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.mean(torch.sum(-y.double() * torch.log(logits.softmax(-1).clamp(min=1e-8)), dim=-1))


def _share_of_positives(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return -((F.log_softmax(logits, dim=1) * y).sum(1) / y.sum(1).clamp(min=1)).mean()


def _allowed_actions(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return -(F.log_softmax(logits, dim=1) * y * ONE_HOT).sum(1).mean()


def _distilled(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return -(F.log_softmax(logits, dim=1) * (y - 0.5).mul(4).softmax(1)).sum(1).mean()


def _supervised_contrast(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    z = F.normalize(logits, dim=1)
    positives = (y[:, None] == y[None]).float() - torch.eye(len(y))
    return -(F.log_softmax(z @ z.t() / 0.1, dim=1) * positives).sum(1).div(positives.sum(1)).mean()


def test_several_labels_times_log_softmax() -> None:
    for loss in (_sum, _of_a_logarithm, lambda z, y: -(y.long() * z.log_softmax(1)).mean()):
        (found,) = findings("LOS013", mlp_setup(None, loss, MULTI_HOT))
        assert found.level.value == "warning"
        assert found.location is not None
        assert Path(found.location.file).name == Path(__file__).name


@pytest.mark.parametrize("targets", [ONE_HOT, SOFT, MIXUP, SMOOTH, torch.where(LABELS[:, None] == 2, 0.0, ONE_HOT)])
def test_distributions_times_log_softmax_are_silent(targets: torch.Tensor) -> None:
    assert not findings("LOS013", mlp_setup(None, _sum, targets))


@pytest.mark.parametrize("loss", [_share_of_positives, _allowed_actions, _distilled])
def test_other_losses_with_several_ones_in_a_row_are_silent(loss: Callable[..., Any]) -> None:
    assert not findings("LOS013", mlp_setup(None, loss, MULTI_HOT))


def test_contrast_of_a_batch_with_itself_is_silent() -> None:
    assert not findings("LOS013", mlp_setup(None, _supervised_contrast, LABELS))


def test_the_words_around_a_word_are_silent() -> None:
    assert not findings("LOS013", mlp_setup(None, _sum, (ONE_HOT + ONE_HOT.roll(1, 0))))


def test_completing_a_set_is_silent() -> None:
    torch.manual_seed(0)
    baskets = (torch.rand(40, 12) < 0.3).float()
    assert not findings("LOS013", {"model": Mlp(12), "inputs": baskets, "targets": baskets, "loss": _sum})


@pytest.mark.parametrize("head", [None, torch.sigmoid])
def test_multi_label_losses_are_silent(head: Callable[..., Any] | None) -> None:
    loss = nn.BCEWithLogitsLoss() if head is None else nn.BCELoss()
    assert not findings("LOS013", mlp_setup(head, loss, MULTI_HOT))
