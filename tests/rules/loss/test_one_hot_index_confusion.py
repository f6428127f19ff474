"""LOS026 one-hot-index-confusion: targets in a form that torch accepts and takes for another."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import findings, mlp_setup
from tests.rules.loss.target_forms import LABELS, MIXUP, MULTI_HOT, ONE_HOT, SMOOTH, SOFT


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
