"""DAT003 non-finite-data: naN or Inf among the inputs or targets."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import nnlint
from tests.rules.data.inputs import NOISE, check


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_inputs(value) -> None:
    inputs = NOISE.clone()
    inputs[5, 2] = value
    assert check("DAT003", nn.Linear(16, 4), inputs) == [("DAT003", "error")]


def test_non_finite_targets() -> None:
    targets = torch.zeros(32, 4)
    targets[0] = math.nan
    assert check("DAT003", nn.Linear(16, 4), NOISE, targets=targets, loss=nn.MSELoss()) == [("DAT003", "error")]


def test_sample_is_named() -> None:
    inputs = NOISE.clone()
    inputs[5, 2:4] = math.nan
    report = nnlint.check({"model": nn.Linear(16, 4), "inputs": inputs}).results[0]
    finding = next(item for item in report.findings if item.code == "DAT003")
    assert finding.evidence == {"tensor": "inputs", "nan": 2, "inf": 0, "samples": [5]}
    assert "SIG003" not in {item.code for item in report.findings}


def test_float_attention_mask_is_silent() -> None:
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, x, mask):
            return self.attention(x, x, x, attn_mask=mask)[0]

    mask = nn.Transformer.generate_square_subsequent_mask(6)
    assert check("DAT003", Model(), (torch.randn(4, 6, 16), mask)) == []
