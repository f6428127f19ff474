"""LOS032 target-carries-gradient: the target side of the loss depends on parameters that the same optimizer trains."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import findings
from tests.rules.loss.loss_terms import BATCH


def test_a_target_under_no_grad_carries_nothing() -> None:
    model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3))
    following = torch.randn(40, 12)

    def loss(values: torch.Tensor, reward: torch.Tensor, *, keep: bool) -> torch.Tensor:
        with torch.set_grad_enabled(keep):
            wanted = reward + 0.9 * model(following).max(1).values
        return F.mse_loss(values[:, 0], wanted)

    case = {"model": model, "inputs": torch.randn(40, 12), "targets": BATCH[1]}
    assert not findings("LOS032", {**case, "loss": lambda v, r: loss(v, r, keep=False)})
    (found,) = findings("LOS032", {**case, "loss": lambda v, r: loss(v, r, keep=True)})
    assert found.evidence["norm_through_target"] > 0
    assert "detach" in found.fix
    declared = {**case, "loss": lambda v, r: loss(v, r, keep=True), "declared": ["mutual-learning"]}
    assert not findings("LOS032", declared)
