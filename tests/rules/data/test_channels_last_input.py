"""DAT009 channels-last-input: images of shape (N, H, W, C) go into a convolution that takes (N, C, H, W)."""

from __future__ import annotations

import torch
from torch import nn

import nnlint
from tests.rules.data.values import GENERATOR, Cast, check, conv, flat

LAST = torch.randn(16, 12, 12, 3, generator=GENERATOR)


def test_channels_last() -> None:
    assert check("DAT009", conv(12), LAST) == ["warning"]
    assert check("DAT009", conv(3), LAST.permute(0, 3, 1, 2)) == []
    assert check("DAT009", Cast(lambda x: x.permute(0, 3, 1, 2)), LAST) == []
    assert check("DAT009", Cast(lambda x: x.movedim(-1, 1)), LAST) == []
    assert check("DAT009", flat(432), LAST) == []
    assert check("DAT009", nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4)), LAST) == []
    assert check("DAT009", conv(16), torch.randn(8, 16, 12, 3)) == ["warning"]
    assert check("DAT009", conv(4), torch.randn(8, 4, 4, 4)) == []


def test_channels_last_is_named_where_the_forward_fails() -> None:
    report = nnlint.check({"model": conv(3), "inputs": LAST}, select=["DAT009"]).results[0]
    assert {item.code for item in report.findings} == {"DAT009", "RUN002"}
