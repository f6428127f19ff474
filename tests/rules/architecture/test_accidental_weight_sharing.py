"""ARC017 accidental-weight-sharing: the same layer registered under several names and applied one after the other."""

from __future__ import annotations

import torch
from torch import nn

from nnlint.testing import Net, findings, levels


def test_a_multiplied_list_of_layers():
    (finding,) = findings("ARC017", nn.Sequential(*[nn.Linear(8, 8)] * 3))
    assert (finding.module, finding.level.value) == ("0", "warning")
    assert finding.evidence["paths"] == ["0", "1", "2"]


def test_a_multiplied_list_of_blocks_is_one_finding():
    block = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    (finding,) = findings("ARC017", nn.Sequential(*[block] * 2))
    assert finding.module == "0"


def test_activations_may_be_repeated():
    act = nn.ReLU()
    assert not findings("ARC017", nn.Sequential(nn.Linear(8, 8), act, nn.Linear(8, 8), act))


def test_sharing_under_names_of_their_own_looks_meant():
    layer = nn.Linear(8, 8)
    net = Net(lambda net, x: net.decode(net.encode(x).relu()), encode=layer, decode=layer)
    assert levels("ARC017", net) == {"encode": "info"}


def test_layers_side_by_side():
    embedding = nn.Embedding(10, 8)
    net = Net(lambda net, ids: net.source(ids) + net.target(ids), source=embedding, target=embedding)
    assert not findings("ARC017", net, torch.randint(0, 10, (4, 3)))


def test_tied_parameters_are_not_a_tied_layer():
    net = Net(lambda net, ids: net.head(net.embed(ids)), embed=nn.Embedding(10, 8), head=nn.Linear(8, 10, bias=False))
    net.head.weight = net.embed.weight
    assert not findings("ARC017", net, torch.randint(0, 10, (4, 3)))


def test_one_layer_group_applied_again_and_again():
    def forward(net, x):
        for _ in range(4):
            x = net.group(x)
        return x

    assert not findings("ARC017", Net(forward, group=nn.Sequential(nn.Linear(8, 8), nn.ReLU())))


def test_declared_sharing():
    assert not findings("ARC017", nn.Sequential(*[nn.Linear(8, 8)] * 3), declared={"weight-sharing"})
