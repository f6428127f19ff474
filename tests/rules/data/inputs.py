"""What several tests share: scale of the inputs, and NaN among them."""

from __future__ import annotations

import torch

import nnlint

GENERATOR = torch.Generator().manual_seed(3)


NOISE = torch.randn(32, 16, generator=GENERATOR)


def check(code, model, inputs, **parts):
    torch.manual_seed(0)
    report = nnlint.check({"model": model, "inputs": inputs, **parts}, select=[code]).results[0]
    assert report.skipped == []
    return [(item.code, item.level.value) for item in report.findings]
