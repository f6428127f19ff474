"""RUN005 no-example-input: no example input was given and none could be inferred."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

import nnlint
from tests.rules.run.failures import codes

if TYPE_CHECKING:
    pass


def test_no_example_input() -> None:
    class Strange(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3))

        def forward(self, a, *, mode):
            if mode != "the right one":
                raise ValueError(mode)
            return a * self.weight

    report = nnlint.check(Strange())
    assert report.results[0].status == "failed"
    assert "RUN005" in codes(report)
