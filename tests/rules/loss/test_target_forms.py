"""LOS012, LOS013, LOS014, LOS026: what the targets are, against what the loss takes them for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Mlp, findings, mlp_setup, skipped

LABELS = torch.arange(40) % 5
ONE_HOT = F.one_hot(LABELS, 5).float()
MULTI_HOT = (torch.rand(40, 5, generator=torch.Generator().manual_seed(0)) < 0.4).float()
SOFT = torch.rand(40, 5, generator=torch.Generator().manual_seed(0)).softmax(1)
MIXUP = 0.3 * ONE_HOT + 0.7 * ONE_HOT.roll(1, 0)
SMOOTH = 0.9 * ONE_HOT + 0.02


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


def test_one_distribution_over_the_batch() -> None:
    case = mlp_setup(lambda z: z.squeeze(1), F.cross_entropy, (LABELS == 0).float(), outputs=1)
    assert findings("LOS026", case)


def test_indices_in_the_place_of_distributions() -> None:
    assert findings("LOS026", mlp_setup(None, F.cross_entropy, LABELS.float().unsqueeze(1).repeat(1, 5)))


def test_rows_in_the_place_of_index_lists() -> None:
    assert findings("LOS026", mlp_setup(None, nn.MultiLabelMarginLoss(), MULTI_HOT.long()))
    lists = torch.tensor([[2, 0, -1, 0, 0], [3, -1, 0, 0, 0]]).repeat(20, 1)
    assert not findings("LOS026", mlp_setup(None, nn.MultiLabelMarginLoss(), lists))


@pytest.mark.parametrize("targets", [LABELS, ONE_HOT, SOFT, MIXUP, SMOOTH, MULTI_HOT])
def test_forms_that_mean_what_they_say_are_silent(targets: torch.Tensor) -> None:
    assert not findings("LOS026", mlp_setup(None, F.cross_entropy, targets))


def test_a_single_unbatched_sample_is_silent() -> None:
    torch.manual_seed(0)
    case = {
        "model": nn.Linear(12, 5),
        "inputs": torch.randn(12),
        "targets": torch.rand(5).softmax(0),
        "loss": F.cross_entropy,
    }
    assert not findings("LOS026", case)


@pytest.mark.parametrize("code", ["LOS012", "LOS013", "LOS014", "LOS026"])
def test_made_up_targets_are_not_judged(code: str) -> None:
    torch.manual_seed(0)
    assert skipped(code, {"model": Mlp(), "inputs": torch.randn(20, 12), "loss": nn.CrossEntropyLoss()})


@pytest.mark.parametrize("code", ["LOS012", "LOS013", "LOS014", "LOS026"])
def test_a_static_check_says_that_it_cannot_tell(code: str) -> None:
    assert "static" in skipped(code, mlp_setup(None, nn.BCEWithLogitsLoss(), ONE_HOT), static=True)
