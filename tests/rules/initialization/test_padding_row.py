"""INI012 padding-row: an embedding with `padding_idx` whose row for it holds other values than zero."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnlint.testing import findings, places
from tests.rules.initialization.parameters import embedding


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (embedding(index=0, init=nn.init.normal_), [("info", "0")]),
        (embedding(index=-1, init=nn.init.xavier_uniform_), [("info", "0")]),
        (embedding(index=0), []),
        (embedding(index=None, init=nn.init.normal_), []),
    ],
)
def test_padding_row(model, expected) -> None:
    assert places(findings("INI012", model, torch.randint(0, 50, (4, 6)))) == expected
