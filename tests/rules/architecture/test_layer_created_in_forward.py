"""ARC004 layer-created-in-forward: the forward makes a layer or a trainable tensor of its own, with new random weights at every call."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, findings


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: nn.Linear(8, 4)(net.a(x)),
        lambda net, x: nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))(net.a(x)),
        lambda net, x: net.a(x) * nn.Parameter(torch.randn(8)),
        lambda net, x: F.linear(net.a(x), nn.init.xavier_uniform_(nn.Parameter(torch.empty(4, 8)))),
        lambda net, x: net.a(x) * torch.randn(8, requires_grad=True),
    ],
    ids=["linear", "block", "parameter", "initialized parameter", "random leaf"],
)
def test_trainable_tensors_made_in_the_forward(forward):
    (finding,) = findings("ARC004", Net(forward, a=nn.Linear(8, 8)))
    assert finding.level.value == "error"


def test_a_layer_that_the_first_forward_registers_is_a_warning():
    def forward(net, x):
        if not hasattr(net, "late"):
            net.late = nn.Linear(x.shape[1], 4)
        return net.late(net.a(x))

    (finding,) = findings("ARC004", Net(forward, a=nn.Linear(8, 8)))
    assert finding.level.value == "warning"
    assert "an optimizer built before" in finding.message


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: net.a(x) * torch.ones(16, 8).tril(),
        lambda net, x: net.a(x) + torch.randn(8),
        lambda net, x: net.rnn(net.a(x)[None], torch.zeros(1, 16, 8).requires_grad_())[0],
        lambda net, x: net.rnn(net.a(x)[None], torch.zeros(1, 16, 8, requires_grad=True))[0],
        lambda net, x: net.a(x.detach().requires_grad_()),
        lambda net, x: nn.ReLU()(net.a(x)),
    ],
    ids=["mask", "noise", "zero state", "zero leaf state", "input leaf", "inline activation"],
)
def test_constants_and_noise_made_in_the_forward(forward):
    assert not findings("ARC004", Net(forward, a=nn.Linear(8, 8), rnn=nn.GRU(8, 8)))
