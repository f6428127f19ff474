"""DAT006 duplicate-samples: identical samples in one batch."""

from __future__ import annotations

import torch
from torch import nn

from tests.rules.data.dataset import BALANCED, INPUTS, check


def test_duplicates() -> None:
    inputs = INPUTS[:64].clone()
    assert check("DAT006", inputs=inputs, targets=BALANCED[:64]) == []
    inputs[63] = inputs[3]
    assert check("DAT006", inputs=inputs, targets=BALANCED[:64]) == ["info"]
    inputs[62] = inputs[3]
    assert check("DAT006", inputs=inputs, targets=BALANCED[:64]) == ["warning"]


def test_what_repeats_by_chance_is_silent() -> None:
    flags = (INPUTS[:256] > 0).float()
    flags[:, 4:] = 0.0
    assert check("DAT006", inputs=flags, targets=BALANCED[:256]) == []
    narrow = nn.Linear(3, 4)
    assert check("DAT006", model=narrow, inputs=torch.randint(0, 3, (256, 3)).float(), targets=BALANCED[:256]) == []
