"""What the tests of the loss rules share: small nets and a check of one rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import nnlint
from nnlint.report import ReportedFinding


class Net(nn.Module):
    """An MLP; `head` is what is done to its logits before they are returned."""

    def __init__(self, outputs: int = 5, head: Callable[[torch.Tensor], Any] | nn.Module | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(12, 32)
        self.fc2 = nn.Linear(32, outputs)
        self.head = head

    def forward(self, x: torch.Tensor) -> Any:
        logits = self.fc2(torch.relu(self.fc1(x)))
        return logits if self.head is None else self.head(logits)


def setup(
    head: Callable[[torch.Tensor], Any] | nn.Module | None,
    loss: Callable[..., Any],
    targets: torch.Tensor | None = None,
    *,
    outputs: int = 5,
    **more: Any,
) -> dict[str, Any]:
    """A training setup of `Net` on 40 samples; class labels unless targets are given."""
    torch.manual_seed(0)
    labels = torch.arange(40) % outputs if targets is None else targets
    return {
        "model": Net(outputs, head),
        "inputs": torch.randn(len(labels), 12),
        "targets": labels,
        "loss": loss,
        **more,
    }


def findings(code: str, case: Any, **settings: Any) -> list[ReportedFinding]:
    """The findings of one rule; fails when the rule was skipped or crashed."""
    result = nnlint.check(case, select=[code], **settings).results[0]
    assert [item.reason for item in result.skipped if item.code == code] == []
    return [found for found in result.findings if found.code == code]


def skipped(code: str, case: Any, **settings: Any) -> str:
    """The reason for which a rule was skipped; empty when it was evaluated."""
    result = nnlint.check(case, select=[code], **settings).results[0]
    return next((item.reason for item in result.skipped if item.code == code), "")
