"""LOS006: predictions of BCELoss that nothing holds in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nnlint
from nnlint.testing import findings, mlp_setup, skipped

CODE = "LOS006"
TARGETS = torch.randint(0, 2, (40, 5), generator=torch.Generator().manual_seed(0)).float()


@pytest.mark.parametrize(
    "head",
    [None, torch.relu, torch.tanh, lambda z: z * 0.01 + 0.5, lambda z: z.view(40, 5), lambda z: torch.sigmoid(z) * 2],
)
def test_unbounded_predictions(head: Callable[..., Any] | None) -> None:
    assert findings(CODE, mlp_setup(head, nn.BCELoss(), TARGETS))


def test_found_when_torch_raises() -> None:
    report = nnlint.check(mlp_setup(None, nn.BCELoss(), TARGETS)).results[0]
    assert report.status == "failed"
    assert {"LOS006", "RUN003"} <= {found.code for found in report.findings}
    (found,) = (found for found in report.findings if found.code == CODE)
    assert found.module == "fc2"
    assert found.evidence["share_outside"] > 0.1


@pytest.mark.parametrize(
    "head",
    [
        nn.Sigmoid(),
        F.hardsigmoid,
        nn.Softmax(dim=1),
        lambda z: z.clamp(0, 1),
        lambda z: F.hardtanh(z, 0.0, 1.0),
        lambda z: (torch.tanh(z) + 1) / 2,
        lambda z: 1 - torch.sigmoid(z),
        lambda z: torch.sigmoid(z) * torch.sigmoid(-z),
        lambda z: torch.sigmoid(z).clamp(1e-6, 1 - 1e-6),
        lambda z: torch.stack([torch.sigmoid(z), torch.sigmoid(-z)]).mean(0),
        lambda z: torch.exp(-(z**2)),
        lambda z: z.abs() / (1 + z.abs()),
    ],
)
def test_probabilities_are_silent(head: Callable[..., Any]) -> None:
    assert not findings(CODE, mlp_setup(head, nn.BCELoss(), TARGETS))


def test_static_check_judges_by_structure_or_skips() -> None:
    assert findings(CODE, mlp_setup(None, nn.BCELoss(), TARGETS), static=True)
    assert not findings(CODE, mlp_setup(nn.Sigmoid(), nn.BCELoss(), TARGETS), static=True)
    assert "static" in skipped(CODE, mlp_setup(lambda z: z.abs() / (1 + z.abs()), nn.BCELoss(), TARGETS), static=True)
