"""LOS020: losses without a way back to the parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Mlp, findings, mlp_setup

CODE = "LOS020"
LABELS = torch.arange(40) % 5


def under_no_grad(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return F.cross_entropy(output, labels)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda o, t: F.cross_entropy(o, t).item(), "not a tensor"),
        (lambda o, t: torch.tensor(F.cross_entropy(o, t).item()), "no grad_fn"),
        (lambda o, t: F.cross_entropy(o, t).detach(), "detached"),
        (lambda o, t: F.cross_entropy(o.data, t), "detached"),
        (lambda o, t: (o.argmax(1) != t).float().mean(), "no grad_fn"),
        (under_no_grad, "no_grad"),
        (lambda o, t: torch.tensor(F.cross_entropy(o, t).item(), requires_grad=True), "no trainable parameter"),
        (nn.CrossEntropyLoss(reduction="none"), "needs a scalar"),
    ],
)
def test_losses_that_train_nothing(loss: Callable[..., Any], words: str) -> None:
    (found,) = findings(CODE, mlp_setup(None, loss, LABELS))
    assert words in found.message


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(),
        lambda o, t: F.cross_entropy(o, t).reshape(1),
        lambda o, t: F.cross_entropy(o, t) + 0.1 * F.mse_loss(o, o.detach()),
        lambda o, t: (o - F.one_hot(t, 5)).square().mean(),
    ],
)
def test_losses_that_train_are_silent(loss: Callable[..., Any]) -> None:
    assert not findings(CODE, mlp_setup(None, loss, LABELS))


def test_a_frozen_model_is_another_rules_business() -> None:
    case = mlp_setup(None, nn.CrossEntropyLoss(), LABELS)
    case["model"].requires_grad_(False)
    assert not findings(CODE, case)


def test_partly_frozen_is_silent() -> None:
    torch.manual_seed(0)
    model = Mlp()
    model.fc1.requires_grad_(False)
    case = {"model": model, "inputs": torch.randn(40, 12), "targets": LABELS, "loss": nn.CrossEntropyLoss()}
    assert not findings(CODE, case)
