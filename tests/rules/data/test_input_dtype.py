"""DAT008 input-dtype: integer images, or double precision inputs, that reach layers by a cast."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnlint
from tests.rules.data.values import GENERATOR, IMAGES, Cast, check, conv

BYTES = torch.randint(0, 256, (64, 3, 12, 12), dtype=torch.uint8, generator=GENERATOR)


@pytest.mark.parametrize(
    ("before", "inputs", "expected"),
    [
        (lambda x: x.float(), BYTES, ["error"]),
        (lambda x: x.to(torch.float32), BYTES, ["error"]),
        (lambda x: x.type(torch.float32), BYTES.long(), ["error"]),
        (lambda x: x.float() / 255, BYTES, []),
        (lambda x: x.float().sub(127).div(64), BYTES, []),
        (lambda x: x.float(), BYTES > 127, []),
        (lambda x: x.float(), BYTES // 64, []),  # one-hot planes, small counts
        (lambda x: x.float(), IMAGES.double(), ["info"]),
        (lambda x: x, IMAGES, []),
    ],
    ids=["float", "to", "type", "div", "sub", "bool", "small", "double", "float32"],
)
def test_dtype(before, inputs, expected) -> None:
    assert check("DAT008", Cast(before), inputs) == expected


def test_dtype_that_the_layer_refuses_is_found_without_a_forward() -> None:
    report = nnlint.check({"model": conv(), "inputs": BYTES}, select=["DAT008"]).results[0]
    assert {item.code for item in report.findings} == {"DAT008", "RUN002"}


def test_double_model_is_silent() -> None:
    assert check("DAT008", conv().double(), IMAGES.double()) == []


def test_token_ids_are_silent() -> None:
    model = nn.Sequential(nn.Embedding(500, 8), nn.Flatten(), nn.Linear(48, 4))
    assert check("DAT008", model, torch.randint(0, 500, (16, 6))) == []
