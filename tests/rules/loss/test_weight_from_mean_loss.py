"""LOS037 weight-from-mean-loss: A focal weight computed from the loss that is already averaged."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from nnlint.testing import findings, mlp_setup


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
