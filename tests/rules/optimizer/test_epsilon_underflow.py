"""OPT008 epsilon-underflow: the optimizer's eps rounds to zero in the dtype of the parameters, or is far larger than their gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnlint
from tests.rules.optimizer.settings import levels, net


@pytest.mark.parametrize(
    ("dtype", "eps", "fires"),
    [
        (torch.float32, 1e-8, False),
        (torch.float32, 1e-15, False),
        (torch.float32, 0.0, True),
        (torch.float16, 1e-8, True),
        (torch.float16, 1e-4, False),
        (torch.bfloat16, 1e-8, False),
        (torch.float64, 1e-60, False),
    ],
)
def test_epsilon(dtype, eps, fires) -> None:
    model = nn.Linear(8, 4).to(dtype)
    optimizer = torch.optim.Adam(model.parameters(), eps=eps)
    report = nnlint.check(
        {"model": model, "inputs": torch.randn(8, 8, dtype=dtype), "optimizer": optimizer}, select=["OPT008"]
    )
    assert [item.level.value for item in report.results[0].findings] == (["warning"] if fires else [])


def test_optimizers_without_epsilon_are_silent() -> None:
    model = net()
    assert levels("OPT008", model, torch.optim.SGD(model.parameters())) == []
