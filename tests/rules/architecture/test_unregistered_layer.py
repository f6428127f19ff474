"""ARC003 and ARC004: layers that the model uses and does not have."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

from nnlint.testing import Net, findings


def apply_all(layers, x):
    for layer in layers:
        x = layer(x)
    return x


CLOSED_OVER = nn.Linear(8, 8)


USES = {
    "list": (lambda net, x: apply_all(net.layers, x), {"layers": [nn.Linear(8, 8), nn.Linear(8, 8)]}, "layers[0]"),
    "tuple": (lambda net, x: apply_all(net.layers, x), {"layers": (nn.Linear(8, 8),)}, "layers[0]"),
    "dict": (lambda net, x: net.layers["a"](x), {"layers": {"a": nn.Linear(8, 8)}}, "layers['a']"),
    "block in a list": (
        lambda net, x: net.layers[0](x),
        {"layers": [nn.Sequential(nn.Linear(8, 8), nn.ReLU())]},
        "layers[0]",
    ),
    "closure": (lambda net, x: CLOSED_OVER(x), {}, "<Linear>"),
    "partial": (lambda net, x: net.call(x), {"call": functools.partial(nn.Linear(8, 8))}, "<Linear>"),
}


@pytest.mark.parametrize("use", USES)
def test_layers_outside_the_tree(use):
    forward, attributes, module = USES[use]
    (finding,) = findings("ARC003", Net(forward, a=nn.Linear(8, 8), **attributes))
    assert (finding.module, finding.level.value) == (module, "error")


@pytest.mark.parametrize(
    ("forward", "attributes"),
    [
        (lambda net, x: x * net.scales[0], {"scales": [nn.Parameter(torch.ones(8))]}),
        (lambda net, x: x * net.scale, {"scale": torch.ones(8, requires_grad=True)}),
        (lambda net, x: x * net.scale, {"scale": nn.Parameter(torch.ones(8)) * 0.1}),
    ],
    ids=["list of parameters", "plain leaf", "product of a parameter"],
)
def test_trainable_tensors_outside_the_tree(forward, attributes):
    (finding,) = findings("ARC003", Net(forward, a=nn.Linear(8, 8), **attributes))
    assert "not a registered Parameter" in finding.message


def test_layers_in_one_container_are_one_finding():
    (finding,) = findings(
        "ARC003", Net(lambda net, x: apply_all(net.layers, x), layers=[nn.Linear(8, 8) for _ in range(5)])
    )
    assert finding.evidence["parameters"] == 5 * 72
    assert "nn.ModuleList" in finding.fix


def hidden_teacher(net, x):
    with torch.no_grad():
        target = net.teacher[0](x)
    return net.a(x) - target


@pytest.mark.parametrize(
    ("forward", "attributes"),
    [
        (lambda net, x: apply_all(net.acts, net.a(x)), {"acts": [nn.ReLU(), nn.Dropout(0.1)]}),
        (lambda net, x: nn.Softmax(dim=-1)(net.a(x)), {}),
        (hidden_teacher, {"teacher": [nn.Linear(8, 8)]}),
        (lambda net, x: net.teacher[0](net.a(x)), {"teacher": [nn.Linear(8, 8).requires_grad_(False)]}),
        (lambda net, x: net.a(x) + net.offset, {"offset": torch.ones(8)}),
        (lambda net, x: net.a(x) * net.mask, {"mask": [torch.ones(8)][0]}),
    ],
    ids=["parameter-free", "inline module", "teacher without gradient", "frozen", "plain constant", "mask"],
)
def test_what_needs_no_registration(forward, attributes):
    assert not findings("ARC003", Net(forward, a=nn.Linear(8, 8), **attributes))


def test_layers_listed_beside_their_registration():
    layers = [nn.Linear(8, 8), nn.Linear(8, 8)]
    assert not findings(
        "ARC003", Net(lambda net, x: apply_all(net.order, x), layers=nn.ModuleList(layers), order=layers)
    )


def test_layers_of_the_loss_are_not_the_models():
    perceptual = nn.Linear(8, 8)
    net = Net(lambda net, x: net.a(x), a=nn.Linear(8, 8))
    assert not findings("ARC003", net, loss=lambda out, y: (perceptual(out) - perceptual(out * 0)).pow(2).mean())


def test_a_layer_made_in_the_forward_is_not_called_unregistered():
    assert not findings("ARC003", Net(lambda net, x: nn.Linear(8, 4)(net.a(x)), a=nn.Linear(8, 8)))
