"""GRD001 and GRD002: decay and growth toward the input, told from what only looks like it."""

from __future__ import annotations

import torch
from torch import nn

from tests.rules.gradient.flow import LABELS, NOISE, Stack, check, codes, he


def test_zero_head_is_silent() -> None:
    """Every gradient before it is exactly zero until the first step: no decay."""
    model = Stack(he, 6)
    nn.init.zeros_(model.head.weight)
    assert codes(model, NOISE, LABELS, nn.CrossEntropyLoss()) == []


class Unrolled(nn.Module):
    """A recurrent net written out: its gradient fades over the time steps, as that of any RNN at initialization."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.ih, self.hh, self.head = nn.Linear(4, 32), nn.Linear(32, 32), nn.Linear(32, 5)

    def forward(self, x):
        h = torch.zeros(x.shape[0], 32)
        for step in range(x.shape[1]):
            h = torch.tanh(self.ih(x[:, step]) + self.hh(h))
        return self.head(h)


def test_time_steps_of_a_recurrent_net_are_silent() -> None:
    torch.manual_seed(0)
    assert codes(Unrolled(), torch.randn(32, 40, 4), LABELS, nn.CrossEntropyLoss()) == []


def test_pooled_convolutions_are_silent() -> None:
    """Global pooling spreads the gradient over positions: each entry is small, the gradient as a whole is not."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 3, padding=1)]
    for _ in range(4):
        layers += [nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, stride=2)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
    assert codes(model, torch.randn(32, 3, 32, 32), LABELS, nn.CrossEntropyLoss()) == []


def test_message_names_both_ends() -> None:
    finding = check(
        Stack(lambda: nn.Sequential(nn.ReLU(), nn.Linear(32, 32)), 20), NOISE, LABELS, nn.CrossEntropyLoss()
    )[0]
    assert finding.module == "stem"
    assert "head (Linear)" in finding.message
    assert finding.evidence["ratio"] < finding.evidence["limit"] == 1e-4
