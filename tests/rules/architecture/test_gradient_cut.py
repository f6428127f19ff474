"""ARC007 names the op where the gradient ends, and lets the idioms pass that end it on purpose."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, findings, levels


def no_grad(net, x):
    with torch.no_grad():
        h = net.a(x)
    return net.b(h)


def item(net, x):
    scale = net.a(x).mean().item()
    return net.b(x * torch.tensor(scale))


def numpy(net, x):
    h = net.a(x).detach().numpy() * 2
    return net.b(torch.from_numpy(h))


CUTS = {
    "detach": (lambda net, x: net.b(net.a(x).detach()), "detach"),
    "data": (lambda net, x: net.b(net.a(x).data), "data"),
    "round": (lambda net, x: net.b(net.a(x).round()), "round"),
    "argmax": (lambda net, x: net.e(net.a(x).argmax(-1)), "argmax"),
    "long": (lambda net, x: net.e(net.a(x).abs().long().clamp(0, 7)[:, 0]), "long"),
    "compare": (lambda net, x: net.b(x) * (net.a(x) > 0).float(), "gt"),
    "no_grad": (no_grad, "linear"),
    "numpy": (numpy, "numpy"),
    "item": (item, "item"),
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True to a scalar:UserWarning")
def test_the_cut_is_named(cut):
    forward, operation = CUTS[cut]
    net = Net(forward, a=nn.Linear(8, 8), b=nn.Linear(8, 8), e=nn.Embedding(8, 8))
    (finding,) = findings("ARC007", net, loss=F.cross_entropy)
    assert finding.evidence["operation"] == operation
    assert finding.modules == ["a"] or finding.module == "a"
    assert finding.level.value == ("warning" if cut == "no_grad" else "error")


def test_layers_under_one_no_grad_are_one_finding():
    net = Net(no_grad, a=nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)), b=nn.Linear(8, 8))
    (finding,) = findings("ARC007", net, loss=F.cross_entropy)
    assert finding.evidence["parameters_cut"] == 4


def test_a_rounding_beside_a_way_for_the_gradient_cuts_nothing():
    net = Net(lambda net, x: net.b(net.a(x).round() + net.a(x)), a=nn.Linear(8, 8), b=nn.Linear(8, 8))
    assert not findings("ARC007", net, loss=F.cross_entropy)


def test_a_detached_output_leaves_nothing_to_train():
    (finding,) = findings(
        "ARC007",
        Net(lambda net, x: net.b(net.a(x)).detach(), a=nn.Linear(8, 8), b=nn.Linear(8, 8)),
        loss=F.cross_entropy,
    )
    assert "every parameter" in finding.message


def straight_through(net, x):
    h = net.a(x)
    quantized = net.codebook(h.argmax(-1))
    net.codebook_loss = (quantized - h.detach()).pow(2).mean() + (quantized.detach() - h).pow(2).mean()
    return net.b(h + (quantized - h).detach())


def averaged_codebook(net, x):
    h = net.a(x)
    return net.b(h + (net.codebook(h.detach().argmax(-1)) - h).detach())


def rounded(net, x):
    h = net.a(x)
    return net.b(h + (h.round() - h).detach())


def gumbel(net, x):
    return net.b(F.gumbel_softmax(net.a(x), hard=True))


def truncated(net, x):
    h = torch.zeros(16, 8)
    for _ in range(3):
        h = torch.tanh(net.a(x) + net.b(h.detach()))
    return net.b(h)


def logged(net, x):
    h = net.a(x)
    net.log = h.detach().mean()
    return net.b(h)


@pytest.mark.parametrize("forward", [straight_through, averaged_codebook, rounded, gumbel, truncated, logged])
def test_accepted_idioms(forward):
    net = Net(forward, a=nn.Linear(8, 8), b=nn.Linear(8, 8), codebook=nn.Embedding(8, 8))
    assert not findings("ARC007", net, loss=F.cross_entropy)


def self_distillation(net, x):
    with torch.no_grad():
        target = net.teacher(x)
    return net.predictor(net.student(x)), target


def detached_teacher(net, x):
    return net.predictor(net.student(x)), net.teacher(x).detach()


def one_network(net, x):
    return net.predictor(net.student(x)), net.student(x * 1.1).detach()


@pytest.mark.parametrize("forward", [self_distillation, detached_teacher, one_network])
def test_targets_without_gradient(forward):
    student = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    net = Net(forward, student=student, predictor=nn.Linear(8, 8), teacher=copy.deepcopy(student))
    assert not findings("ARC007", net, loss=lambda out, y: F.mse_loss(*out))


def test_frozen_parts():
    frozen = Net(no_grad, a=nn.Linear(8, 8).requires_grad_(False), b=nn.Linear(8, 8))
    assert not findings("ARC007", frozen, loss=F.cross_entropy)
    assert not findings(
        "ARC007", Net(no_grad, a=nn.Linear(8, 8), b=nn.Linear(8, 8)), loss=F.cross_entropy, frozen=("a",)
    )


def test_without_a_loss_the_outputs_count():
    assert levels("ARC007", Net(lambda net, x: net.b(net.a(x).detach()), a=nn.Linear(8, 8), b=nn.Linear(8, 8))) == {
        "": "error"
    }
    assert not findings("ARC007", Net(lambda net, x: (net.a(x), net.a(x).argmax(-1)), a=nn.Linear(8, 8)))


def rescaled(net, x):
    h = net.a(x)
    with torch.no_grad():
        h = 0.9 * h
    return net.b(h)


def test_arithmetic_under_no_grad_freezes_nothing_on_purpose():
    assert levels("ARC007", Net(rescaled, a=nn.Linear(8, 8), b=nn.Linear(8, 8)), loss=F.cross_entropy) == {"": "error"}


def test_a_penalty_on_the_weights_is_no_way_for_the_gradient():
    net = Net(lambda net, x: net.b(net.a(x).detach()), a=nn.Linear(8, 8), b=nn.Linear(8, 8))
    penalized = lambda o, y: F.cross_entropy(o, y) + 1e-4 * sum(p.square().sum() for p in net.parameters())  # noqa: E731
    (finding,) = findings("ARC007", net, loss=penalized)
    assert finding.evidence["operation"] == "detach"
    assert finding.modules == ["a"]


def test_a_cut_in_the_loss_is_not_looked_for_in_the_model():
    def packed(net, x):
        h = nn.utils.rnn.pack_padded_sequence(
            net.a(x).unflatten(0, (4, 4)), torch.tensor([4, 3, 2, 1]), batch_first=True
        )
        return net.b(h.data)

    net = Net(packed, a=nn.Linear(8, 8), b=nn.Linear(8, 8))
    assert not findings("ARC007", net, loss=lambda o, y: F.cross_entropy(o.detach(), y), targets=torch.arange(10) % 8)
