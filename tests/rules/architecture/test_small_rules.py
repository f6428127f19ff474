"""ARC020, ARC023 and ARC024."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.testing import Net, findings, levels
from tests.libraries import library

IMAGE = torch.randn(4, 3, 8, 8)


def net_with(train):
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 8))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in train)
    return model


@pytest.mark.parametrize("train", [(), ("1.weight", "1.bias")], ids=["nothing", "norms only"])
def test_nothing_to_train(train):
    (finding,) = findings("ARC020", net_with(train))
    assert finding.level.value == "error"


@pytest.mark.parametrize("train", [("3.weight", "3.bias"), ("0.bias", "3.bias", "1.weight"), ("0.weight",)])
def test_something_to_train(train):
    assert not findings("ARC020", net_with(train))


def test_an_adapter_loaded_for_inference_is_told_how_to_load_it():
    peft = library("peft")
    config = peft.LoraConfig(target_modules=["0"], inference_mode=True)
    model = peft.PeftModel(net_with(()), config)
    model.requires_grad_(False)
    (finding,) = findings("ARC020", model)
    assert "is_trainable=True" in finding.fix


def test_a_model_without_parameters():
    (finding,) = findings("ARC020", nn.ReLU())
    assert "lists no parameter" in finding.message


# ------------------------------------------------------------------ ARC023


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Dropout(0.5), nn.MaxPool2d(2)),
        (nn.Dropout(0.5), nn.ReLU(), nn.MaxPool2d(2)),
        (Net(lambda net, x: F.max_pool2d(F.dropout(x, 0.3, net.training), 2)),),
        (nn.Dropout(0.2), nn.AdaptiveMaxPool2d(1)),
    ],
)
def test_dropout_into_a_maximum(layers):
    (finding,) = findings("ARC023", nn.Sequential(nn.Conv2d(3, 4, 3), *layers), IMAGE)
    assert finding.level.value == "warning"


@pytest.mark.parametrize(
    "layers",
    [
        (nn.MaxPool2d(2), nn.Dropout(0.5)),
        (nn.Dropout(0.5), nn.AvgPool2d(2)),
        (nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1)),
        (nn.Dropout2d(0.5), nn.MaxPool2d(2)),
        (nn.Dropout(0.0), nn.MaxPool2d(2)),
        (nn.Dropout(0.5), nn.Conv2d(4, 4, 3), nn.MaxPool2d(2)),
        (Net(lambda net, x: F.max_pool2d(F.dropout(x, 0.5, training=False), 2)),),
    ],
)
def test_dropout_that_keeps_the_mean(layers):
    assert not findings("ARC023", nn.Sequential(nn.Conv2d(3, 4, 3), *layers), IMAGE)


# ------------------------------------------------------------------ ARC024


def stack(act, depth=3, width=32, gain=None):
    torch.manual_seed(0)
    layers = []
    for position in range(depth):
        layers += [nn.Linear(width if position else 8, width), act()]
        if gain is not None:
            nn.init.xavier_normal_(layers[-2].weight, gain)
    return nn.Sequential(*layers, nn.Linear(width, 5))


def checked(model, inputs=None):
    return levels("ARC024", model, inputs, loss=F.cross_entropy)


@pytest.mark.parametrize("act", [nn.Sigmoid, nn.Hardsigmoid])
@pytest.mark.parametrize("depth", [2, 3, 6])
def test_sigmoids_in_a_row(act, depth):
    assert checked(stack(act, depth)) == {"0": "warning"}


@pytest.mark.parametrize("call", [torch.sigmoid, F.sigmoid, lambda h: h.sigmoid(), lambda h: h.sigmoid_()])
def test_functions_and_methods(call):
    net = Net(
        lambda net, x: net.c(call(net.b(call(net.a(x))))), a=nn.Linear(8, 32), b=nn.Linear(32, 32), c=nn.Linear(32, 5)
    )
    assert checked(net) == {"a": "warning"}


def normed():
    return nn.Sequential(
        nn.Linear(8, 8),
        nn.BatchNorm1d(8),
        nn.Sigmoid(),
        nn.Linear(8, 8),
        nn.BatchNorm1d(8),
        nn.Sigmoid(),
        nn.Linear(8, 8),
    )


def squeeze_excite(net, x):
    for conv, down, up in ((net.c1, net.d1, net.u1), (net.c2, net.d2, net.u2)):
        x = conv(x)
        x = x * torch.sigmoid(up(F.relu(down(x.mean((2, 3)))))).unflatten(1, (8, 1, 1))
    return net.head(x.mean((2, 3)))


def highway(net, x):
    for transform, gate in ((net.a, net.b), (net.c, net.d)):
        weight = torch.sigmoid(gate(x))
        x = weight * torch.tanh(transform(x)) + (1 - weight) * x
    return net.head(x)


SILENT = {
    "one hidden sigmoid": (lambda: stack(nn.Sigmoid, 1), None),
    "tanh": (lambda: stack(nn.Tanh, 4, gain=5 / 3), None),
    "tanh with torch's defaults": (lambda: stack(nn.Tanh, 3), None),
    "sigmoids with weights scaled for them": (lambda: stack(nn.Sigmoid, 2, gain=4.0), None),
    "relu and a sigmoid at the end": (lambda: nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Sigmoid()), None),
    "alternating": (lambda: nn.Sequential(
        nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 8)), None),
    "norms": (normed, None),
    "highway gates": (lambda: Net(highway, **{name: nn.Linear(8, 8) for name in "abcd"}, head=nn.Linear(8, 8)), None),
    "squeeze-excite": (
        lambda: Net(
            squeeze_excite,
            c1=nn.Conv2d(3, 8, 3), c2=nn.Conv2d(8, 8, 3), d1=nn.Linear(8, 4), d2=nn.Linear(8, 4),
        u1=nn.Linear(4, 8), u2=nn.Linear(4, 8), head=nn.Linear(8, 8),
        ),
        IMAGE,
    ),
    "lstm": (
        lambda: Net(lambda net, x: net.head(net.rnn(x)[0][:, -1]), rnn=nn.LSTM(8, 8, 2, batch_first=True), head=nn.Linear(8, 8)),
        torch.randn(4, 6, 8),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SILENT)
def test_designs_without_decay(case):
    build, inputs = SILENT[case]
    torch.manual_seed(0)
    targets = torch.zeros(16 if inputs is None else 4, dtype=torch.long)
    assert not findings("ARC024", build(), inputs, loss=F.cross_entropy, targets=targets)
