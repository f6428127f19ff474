"""LOS024 negative-loss: negative value of a loss that is non-negative by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import findings, mlp_setup
from tests.rules.loss.reductions_and_signs import LABELS, Y


@pytest.mark.parametrize(
    ("head", "loss", "targets"),
    [
        (None, lambda o, t: F.binary_cross_entropy_with_logits(o, t, weight=-torch.ones(5)), torch.ones(40, 5)),
        (None, nn.CrossEntropyLoss(), -F.one_hot(LABELS, 5).float()),
        (nn.Softmax(dim=1), nn.NLLLoss(), LABELS),
        (lambda z: 30 * z.abs(), lambda o, t: F.kl_div(o, t, reduction="batchmean"), Y.softmax(1)),
    ],
)
def test_negative_values(head: Callable[..., Any] | None, loss: Callable[..., Any], targets: torch.Tensor) -> None:
    assert findings("LOS024", mlp_setup(head, loss, targets))


@pytest.mark.parametrize(
    ("head", "loss", "targets"),
    [
        (None, nn.CrossEntropyLoss(), LABELS),
        (None, lambda o, t: F.gaussian_nll_loss(o, t, torch.full((40, 5), 1e-4)) * 1e-9 - 3, Y),
        (None, lambda o, t: -(o * t).mean() - 5, Y),
        (None, lambda o, t: -F.cosine_similarity(o, t).mean(), Y),
        (None, nn.PoissonNLLLoss(), 20 * Y.abs()),
        (None, lambda o, t: F.mse_loss(o, o.detach()) - 4, Y),
    ],
)
def test_losses_that_may_be_negative_are_silent(
    head: Callable[..., Any] | None, loss: Callable[..., Any], targets: torch.Tensor
) -> None:
    assert not findings("LOS024", mlp_setup(head, loss, targets))


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (lambda o, t: -F.cross_entropy(o, t), LABELS),
        (lambda o, t: -1.0 * F.mse_loss(o, t, reduction="none").mean(), Y),
    ],
)
def test_the_negative_of_a_loss(loss: Callable[..., Any], targets: torch.Tensor) -> None:
    (finding,) = findings("LOS024", mlp_setup(None, loss, targets))
    assert "is the negative of" in finding.message


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (lambda o, t: -F.binary_cross_entropy_with_logits(o, t), torch.zeros(40, 5)),  # the generator of a pair
        (lambda o, t: F.cross_entropy(o, t) - 0.1 * torch.special.entr(o.softmax(1)).sum(1).mean() - 2, LABELS),
        (lambda o, t: 2.0 * F.cross_entropy(o, t), LABELS),
    ],
)
def test_a_minus_sign_that_is_meant(loss: Callable[..., Any], targets: torch.Tensor) -> None:
    assert not findings("LOS024", mlp_setup(None, loss, targets))
