"""ARC016 shared-norm: one batch-norm layer applied at several places of the model."""

from __future__ import annotations

import torch
from torch import nn

from nnlint.testing import Net, findings, levels


def norms(**more):
    return {"a": nn.Linear(8, 8), "b": nn.Linear(8, 8), "bn": nn.BatchNorm1d(8), **more}


def test_one_batch_norm_behind_two_layers():
    net = Net(lambda net, x: net.bn(net.b(net.bn(net.a(x)).relu())), **norms())
    assert levels("ARC016", net) == {"bn": "warning"}


def test_towers_share_layer_and_norm():
    net = Net(lambda net, x: net.bn(net.a(x)) - net.bn(net.a(x.flip(1))), **norms())
    assert levels("ARC016", net) == {"bn": "info"}


def test_a_tower_that_is_called_twice():
    tower = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.BatchNorm1d(8))
    net = Net(lambda net, x: net.tower(x) - net.tower(x.flip(1)), tower=tower)
    assert set(levels("ARC016", net).values()) == {"info"}


def test_the_steps_of_a_recurrence():
    def forward(net, x):
        h = x
        for _ in range(3):
            h = torch.tanh(net.bn(net.a(h)))
        return h

    assert levels("ARC016", Net(forward, **norms())) == {"bn": "info"}


def test_norms_without_running_statistics():
    net = Net(
        lambda net, x: net.ln(net.b(net.ln(net.a(x)).relu())), a=nn.Linear(8, 8), b=nn.Linear(8, 8), ln=nn.LayerNorm(8)
    )
    assert not findings("ARC016", net)
    free = Net(
        lambda net, x: net.bn(net.b(net.bn(net.a(x)).relu())), **norms(bn=nn.BatchNorm1d(8, track_running_stats=False))
    )
    assert not findings("ARC016", free)
