"""LOS003: what nll_loss may be given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import findings, mlp_setup, skipped

CODE = "LOS003"


@pytest.mark.parametrize(
    "head",
    [None, nn.Softmax(dim=1), torch.sigmoid, torch.relu, F.logsigmoid, lambda z: z - z.mean(1, keepdim=True)],
)
def test_values_that_are_no_log_probabilities(head: Callable[..., Any] | None) -> None:
    assert findings(CODE, mlp_setup(head, nn.NLLLoss()))


@pytest.mark.parametrize(
    "head",
    [
        nn.LogSoftmax(dim=1),
        lambda z: torch.log(z.softmax(1)),
        lambda z: torch.log(z.softmax(1) + 1e-8),
        lambda z: z - z.logsumexp(1, keepdim=True),  # as a CRF does with its partition function
        lambda z: (
            torch.logsumexp(torch.stack([z.log_softmax(1), (-z).log_softmax(1)]), 0) - torch.log(torch.tensor(2.0))
        ),
        lambda z: z.log_softmax(1).to(torch.bfloat16).float(),
        lambda z: torch.cat([z, z], 1).log_softmax(1)[:, :5],  # some classes only: sums to less than 1
    ],
)
def test_normalized_values_are_silent(head: Callable[..., Any]) -> None:
    assert not findings(CODE, mlp_setup(head, nn.NLLLoss()))


def test_dense_prediction() -> None:
    class Segmenter(nn.Module):
        def __init__(self, *, normalized: bool) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.normalized = normalized

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.log_softmax(self.conv(x), 1) if self.normalized else self.conv(x)

    for normalized in (True, False):
        torch.manual_seed(0)
        case = {
            "model": Segmenter(normalized=normalized),
            "inputs": torch.randn(4, 3, 8, 8),
            "targets": torch.randint(0, 4, (4, 8, 8)),
            "loss": nn.NLLLoss(),
        }
        assert bool(findings(CODE, case)) is not normalized


def test_static_check_judges_by_structure_or_skips() -> None:
    assert findings(CODE, mlp_setup(None, nn.NLLLoss()), static=True)
    assert not findings(CODE, mlp_setup(nn.LogSoftmax(dim=1), nn.NLLLoss()), static=True)
    assert "static" in skipped(CODE, mlp_setup(lambda z: torch.log(z.softmax(1)), nn.NLLLoss()), static=True)
