"""SIG010 train-eval-gap: the model computes one thing in training mode and another in evaluation mode."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnlint


class Modes(nn.Module):
    def __init__(self, between, last=None):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.head = nn.Linear(20, 256), nn.Linear(256, 5)
        self.drop, self.norm = nn.Dropout(0.5), nn.BatchNorm1d(256)
        self.between, self.last = between, last or (lambda net, x: x)

    def forward(self, x):
        return self.last(self, self.head(self.between(self, torch.relu(self.fc(x)))))


def gaps(between, last=None, **fields):
    torch.manual_seed(1)
    setup = {"model": Modes(between, last), "inputs": torch.randn(32, 20), **fields}
    return [item.level.value for item in nnlint.check(setup, select=["SIG010"]).results[0].findings]


def by_hand(scale):
    return lambda net, h: h * (torch.rand_like(h) > 0.5) * scale if net.training else h


def masked(net, h):
    if not net.training:
        return h
    return torch.where(torch.rand_like(h) > 0.8, h, torch.ones_like(h))


@pytest.mark.parametrize(
    ("between", "level"),
    [
        (by_hand(1.0), "warning"),
        (lambda net, h: h * torch.bernoulli(torch.full_like(h, 0.3)) if net.training else h, "warning"),
        (lambda net, h: h * torch.floor(0.2 + torch.rand_like(h)) if net.training else h, "warning"),
        (lambda net, h: torch.sigmoid(h * (1.0 if net.training else -50.0)), "warning"),
        (masked, "info"),
        (lambda net, h: -h if net.training else h, "info"),
        (lambda net, h: torch.tanh(h.roll(7, 1)) if not net.training else h, "info"),
    ],
    ids=["dropout by hand", "bernoulli", "floor", "temperature", "masked training", "sign", "another function"],
)
def test_gaps(between, level) -> None:
    assert gaps(between) == [level]


@pytest.mark.parametrize(
    ("between", "last"),
    [
        (by_hand(2.0), None),
        (lambda net, h: net.drop(h), None),
        (lambda net, h: net.norm(h), None),
        (lambda net, h: h + 0.3 * torch.randn_like(h) if net.training else h, None),
        (lambda net, h: h, lambda net, x: x if net.training else x.softmax(-1)),
        (by_hand(2.0), lambda net, x: x if net.training else x.softmax(-1)),
        (lambda net, h: h, lambda net, x: (x, x) if net.training else x),
    ],
    ids=["rescaled", "dropout", "batch norm", "noise", "softmax", "rescaled and softmax", "auxiliary output"],
)
def test_no_gaps(between, last) -> None:
    assert gaps(between, last) == []


def test_declared_stochastic_is_silent() -> None:
    assert gaps(by_hand(1.0), declared={"stochastic"}) == []
