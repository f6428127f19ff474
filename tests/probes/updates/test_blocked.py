"""Where a gradient ends: a mask chooses among positions, a factor that is zero everywhere lets nothing through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nnlint

TOKENS = torch.randn(8, 6, 16, generator=torch.Generator().manual_seed(0))


class FirstToken(nn.Module):
    """Attention with relative positions; the head reads the first token, whose positions a mask leaves out."""

    def __init__(self, mask: Callable[[int], torch.Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.query, self.key, self.value = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.positions, self.head = nn.Parameter(torch.randn(6, 16)), nn.Linear(16, 3)
        self.mask = mask

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query = self.query(x)
        scores = query @ self.key(x).transpose(1, 2) + (query @ self.positions.t()) * self.mask(x.shape[1])
        return self.head((scores.div(4).softmax(-1) @ self.value(x))[:, 0])


def padded(length: int) -> torch.Tensor:
    return F.pad(torch.ones(length - 1, length - 1), (1, 0, 1, 0))


def compared(length: int) -> torch.Tensor:
    return (torch.arange(length)[:, None] > 0).float()


def lower(length: int) -> torch.Tensor:
    return torch.ones(length, length).tril(-1)


def joined(length: int) -> torch.Tensor:
    return torch.cat([torch.zeros(1, length), torch.ones(length - 1, length)])


def written(length: int) -> torch.Tensor:
    mask = torch.ones(length, length)
    mask[0] = 0.0
    return mask


@pytest.mark.parametrize("mask", [padded, compared, lower, joined, written])
def test_a_mask_of_positions_that_the_head_does_not_read(mask: Callable[[int], torch.Tensor]) -> None:
    assert not check(FirstToken(mask))


@pytest.mark.parametrize(
    "mask",
    [
        lambda length: torch.zeros(length, length),
        lambda length: torch.ones(length, length) * 0.0,
        lambda length: torch.zeros(1),
        lambda length: torch.ones(length, length).triu(length),
        lambda length: (torch.arange(length)[:, None] > length).float(),
    ],
    ids=["zeros", "product", "scalar", "beyond the diagonal", "never"],
)
def test_a_factor_that_is_zero_everywhere(mask: Callable[[int], torch.Tensor]) -> None:
    (finding,) = check(FirstToken(mask))
    assert "positions" in finding.message
    assert "multiplies by zero" in finding.message


def check(model: nn.Module) -> list[Any]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fields = {"model": model, "inputs": TOKENS, "targets": torch.arange(8) % 3, "loss": nn.CrossEntropyLoss(), "optimizer": optimizer}
    return nnlint.check(fields, select=["GRD003"]).findings
