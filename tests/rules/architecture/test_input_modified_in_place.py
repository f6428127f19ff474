"""ARC022 input-modified-in-place: the forward writes to a tensor that the caller gave it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, findings


def subtract(net, x):
    x -= x.mean()
    return net.a(x)


def assign(net, x):
    x[:, 0] = 0
    return net.a(x)


def through_view(net, x):
    x.view(-1).mul_(2)
    return net.a(x)


def activation(net, x):
    return net.a(F.relu(x, inplace=True))


def unsqueezed(net, x):
    return net.a(x.unsqueeze_(1))


@pytest.mark.parametrize("forward", [subtract, assign, through_view, activation, unsqueezed])
def test_written_inputs(forward):
    x = torch.randn(16, 8)
    before = x.clone()
    (finding,) = findings("ARC022", Net(forward, a=nn.Linear(8, 8)), x)
    assert finding.level.value == "warning"
    assert finding.location is not None
    assert torch.equal(x, before)


def test_the_input_is_named():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(8, 8)

        def forward(self, x, mask):
            mask.clamp_(0, 1)
            return self.a(x * mask)

    (finding,) = findings("ARC022", Two(), {"x": torch.randn(16, 8), "mask": torch.randn(16, 8)})
    assert finding.evidence["input"] == "mask"


def copied(net, x):
    x = x.clone()
    x -= x.mean()
    return net.a(x)


def picked(net, x):
    rows = x[torch.arange(4)]
    rows.mul_(2)
    return net.a(rows)


def in_place_later(net, x):
    return F.relu(net.a(x), inplace=True)


@pytest.mark.parametrize("forward", [copied, picked, in_place_later, lambda net, x: net.a(x - x.mean())])
def test_copies_may_be_written(forward):
    assert not findings("ARC022", Net(forward, a=nn.Linear(8, 8)))
