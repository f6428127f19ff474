"""ARC026 doubled-residual: A sum that adds a tensor to itself where a residual sum is meant."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, findings


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: (out := net.a(x)) + out,
        lambda net, x: net.b((out := net.a(x).relu()) + F.dropout(out, 0.1, net.training)),
        lambda net, x: torch.add((out := net.a(x)), out),
        lambda net, x: (out := net.a(x)).add(other=out),
    ],
)
def test_a_value_added_to_itself(forward):
    (finding,) = findings("ARC026", Net(forward, a=nn.Linear(8, 8), b=nn.Linear(8, 8)))
    assert finding.level.value == "warning"


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: x + net.a(x),
        lambda net, x: 2 * net.a(x),
        lambda net, x: (h := net.a(x)) + h.flip(1),
        lambda net, x: (h := net.a(x)[:8]) + h.T,
        lambda net, x: net.a(x) + net.a(x),
        lambda net, x: (h := net.a(x)) + h.detach(),
    ],
    ids=["residual", "constant", "flipped", "transposed", "two calls", "detached"],
)
def test_sums_of_different_things(forward):
    assert not findings("ARC026", Net(forward, a=nn.Linear(8, 8)))
