"""Runs one rule on a small setup, for the tests of the normalization and initialization rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import nnlint
from nnlint.report import ReportedFinding, TargetReport


def checked(code: str, model: nn.Module, inputs: Any, targets: Any = None, **fields: Any) -> TargetReport:
    """The report of one rule; with targets, of a cross-entropy classifier unless `loss` is given."""
    setup = {"model": model, "inputs": inputs, **fields}
    if targets is not None:
        setup = {"targets": targets, "loss": nn.CrossEntropyLoss(), **setup}
    report = nnlint.check(setup, select=[code]).results[0]
    assert report.status == "ok", [item.message for item in report.findings]
    return report


def found(code: str, model: nn.Module, inputs: Any, targets: Any = None, **fields: Any) -> list[ReportedFinding]:
    """The findings of one rule, which must not be skipped."""
    report = checked(code, model, inputs, targets, **fields)
    assert [item.reason for item in report.skipped] == []
    return report.findings


def places(findings: list[ReportedFinding]) -> list[tuple[str, str]]:
    """Level and module path of each finding."""
    return [(item.level.value, item.module) for item in findings]


def images(samples: int = 32, channels: int = 3, size: int = 12) -> torch.Tensor:
    """Seeded standard normal images."""
    return torch.randn(samples, channels, size, size, generator=torch.Generator().manual_seed(1))


def features(samples: int = 64, width: int = 20) -> torch.Tensor:
    """Seeded standard normal features."""
    return torch.randn(samples, width, generator=torch.Generator().manual_seed(1))


def labels(samples: int = 64, classes: int = 5) -> torch.Tensor:
    """Balanced class indices."""
    return torch.arange(samples) % classes


class Functional(nn.Module):
    """Layers used by a function: `forward` is `function(self, x)`."""

    def __init__(self, function: Callable[[Any, Any], Any], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Any) -> Any:
        """Whatever the function makes of x."""
        return self.function(self, x)
