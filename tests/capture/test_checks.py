"""What a whole check needs of the capture beyond the graph: gradients of part of an output, fake copies, opaque parts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnlint
from nnlint.testing import Net


def only(code, target, **settings):
    (result,) = nnlint.check(target, select=(code,), **settings).results
    return result


@pytest.mark.parametrize(
    "model",
    [
        Net(lambda net, x: net.rnn(x[None])[1][0], rnn=nn.LSTM(8, 8)),
        Net(lambda net, x: torch._foreach_mul([net.a(x), net.b(x)], 2.0)[1], a=nn.Linear(8, 8), b=nn.Linear(8, 8)),
        Net(lambda net, x: torch.vmap(lambda row: net.a(row).relu())(x), a=nn.Linear(8, 8)),
        Net(lambda net, x: torch.func.grad(lambda y: net.a(y).pow(2).sum())(x), a=nn.Linear(8, 8)),
        Net(lambda net, x: net.a(x), a=nn.LazyLinear(4)),
    ],
    ids=["second output of an lstm", "one of several outputs", "vmap", "functional gradient", "lazy layer"],
)
def test_the_training_pass_measures_such_models(model):
    result = only("GRD004", {"model": model, "inputs": torch.randn(4, 8)})
    assert result.status == "ok", [finding.message for finding in result.findings]
    assert not result.skipped, [skipped.reason for skipped in result.skipped]


@pytest.mark.parametrize(
    "model",
    [
        Net(lambda net, x: net.a(x) * net.mask, a=nn.Linear(8, 8), mask=torch.ones(8)),
        Net(lambda net, x: net.a(x) * net.masks["a"][0], a=nn.Linear(8, 8), masks={"a": [torch.ones(8)]}),
        nn.utils.spectral_norm(nn.Linear(8, 8)),
    ],
    ids=["plain tensor", "tensor in a container", "hook-based spectral norm"],
)
def test_a_static_check_copies_every_tensor_the_model_holds(model):
    result = only("ARC005", {"model": model, "inputs": torch.randn(4, 8)}, static=True)
    assert result.status == "ok", [finding.message for finding in result.findings]
    assert not result.skipped
