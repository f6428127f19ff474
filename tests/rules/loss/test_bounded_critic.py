"""LOS034 bounded-critic: A Wasserstein critic that ends in a sigmoid or tanh."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nnlint.testing import findings, mlp_setup


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
