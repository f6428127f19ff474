"""ARC002 tells a forgotten tensor from one that is returned, stored, logged or simply not needed."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, findings, levels


def forgotten_name(net, x):
    h = F.relu(net.b(x))  # noqa: F841
    return net.a(x)


def lone_call(net, x):
    net.b(x)
    return net.a(x)


def overwritten(net, x):
    h = net.b(x)
    h = net.a(x)  # takes x, not h
    return F.relu(h)


@pytest.mark.parametrize("forward", [forgotten_name, lone_call, overwritten])
def test_a_result_nobody_passes_on(forward):
    assert levels("ARC002", Net(forward, a=nn.Linear(8, 8), b=nn.Linear(8, 8))) == {"b": "error"}


def test_a_lost_chain_is_one_finding_at_its_end():
    def forward(net, x):
        net.c(F.relu(net.b(x)))
        return net.a(x)

    (finding,) = findings("ARC002", Net(forward, a=nn.Linear(8, 8), b=nn.Linear(8, 8), c=nn.Linear(8, 8)))
    assert finding.module == "c"
    assert finding.modules == ["b"]


@pytest.mark.parametrize("function", [F.relu, F.dropout, torch.tanh, lambda h: h.relu()])
def test_a_parameter_free_layer_that_stands_alone(function):
    def forward(net, x):
        h = net.a(x)
        net.call(h)
        return net.b(h)

    net = Net(forward, a=nn.Linear(8, 8), b=nn.Linear(8, 8), call=Net(lambda net, x: function(x)))
    assert not findings("ARC002", net)  # its call is an expression inside a module of its own

    def direct(net, x):
        h = net.a(x)
        F.relu(h)
        return net.b(h)

    (finding,) = findings("ARC002", Net(direct, a=nn.Linear(8, 8), b=nn.Linear(8, 8)))
    assert finding.message.startswith("the result of relu in")


def in_place(net, x):
    h = net.a(x)
    F.relu_(h)
    return net.b(h)


def stored(net, x):
    net.features = net.b(x)
    return net.a(x)


def cached_in_list(net, x):
    net.cache.append(net.b(x))
    return net.a(x)


def returned_beside(net, x):
    return net.a(x), {"aux": net.b(x)}


def branch(net, x):
    return net.a(x) if net.b(x).detach().mean() > -100 else x


def logged(net, x):
    net.log = float(net.b(x).detach().norm())
    return net.a(x)


def written_into_output(net, x):
    out = net.a(x)
    out[:, :4] = net.b(x)[:, :4]
    return out


@pytest.mark.parametrize(
    "forward", [in_place, stored, cached_in_list, returned_beside, branch, logged, written_into_output]
)
def test_values_that_go_somewhere(forward):
    assert not findings("ARC002", Net(forward, a=nn.Linear(8, 8), b=nn.Linear(8, 8), cache=[]))


def test_a_side_loss_is_a_use():
    net = Net(lambda net, x: (net.a(x), net.b(x)), a=nn.Linear(8, 8), b=nn.Linear(8, 8))
    assert not findings("ARC002", net, loss=lambda out, y: F.cross_entropy(out[0], y) + out[1].pow(2).mean())


def test_an_output_the_loss_ignores_is_still_returned():
    net = Net(lambda net, x: (net.a(x), net.b(x)), a=nn.Linear(8, 8), b=nn.Linear(8, 8))
    assert not findings("ARC002", net, loss=lambda out, y: F.cross_entropy(out[0], y))


def test_a_further_output_of_a_part_is_an_info():
    part = Net(lambda net, x: (net.a(x), net.pool(x)), a=nn.Linear(8, 8), pool=nn.Linear(8, 8))
    assert levels("ARC002", Net(lambda net, x: net.part(x)[0], part=part)) == {"part.pool": "info"}


def test_the_unused_state_of_a_recurrent_layer_is_no_finding():
    net = Net(lambda net, x: net.head(net.rnn(x)[0][:, -1]), rnn=nn.LSTM(8, 8, batch_first=True), head=nn.Linear(8, 8))
    assert not findings("ARC002", net, torch.randn(4, 5, 8))


def test_the_last_step_of_a_loop_is_an_info():
    def forward(net, x):
        outputs = []
        for _ in range(3):
            outputs.append(net.head(x))
            x = net.cell(x)
        return torch.stack(outputs)

    assert levels("ARC002", Net(forward, cell=nn.Linear(8, 8), head=nn.Linear(8, 8))) == {"cell": "info"}


def test_averaged_weights_updated_in_the_forward():
    def forward(net, x):
        with torch.no_grad():
            net.teacher.weight.mul_(0.99).add_(net.a.weight, alpha=0.01)
        return net.a(x) + net.teacher(x).detach()

    assert not findings("ARC002", Net(forward, a=nn.Linear(8, 8), teacher=nn.Linear(8, 8)))
