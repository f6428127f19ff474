"""SIG004 and SIG005: decay and growth through depth, and the nets whose scale is somebody else's work."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.rules.signal.scale import Residual, Stack, check, scaled


class LayerScale(Residual):
    def __init__(self, branch, start=1e-6):
        super().__init__(branch)
        self.gamma = nn.Parameter(torch.full((48,), start))

    def forward(self, x):
        return x + self.gamma * self.branch(x)


def test_torch_defaults_of_usual_depth_are_silent() -> None:
    assert check(Stack(lambda: nn.Sequential(nn.ReLU(), nn.Linear(48, 48)), 6)) == []


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, nn.LayerNorm])
@pytest.mark.parametrize("gain", [0.1, 8.0])
def test_normalized_nets_are_silent(norm, gain) -> None:
    assert check(Stack(lambda: nn.Sequential(scaled(gain)(), norm(48)), 12)) == []


class FrozenBatchNorm1d(nn.Module):
    """As detectors write it: statistics and scale are buffers that come with the weights."""

    def __init__(self, features):
        super().__init__()
        for name, start in {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}.items():
            self.register_buffer(name, torch.full((features,), start))

    def forward(self, x):
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        return x * scale + (self.bias - self.running_mean * scale)


@pytest.mark.parametrize("gain", [0.1, 8.0])
def test_nets_with_frozen_norms_await_their_statistics(gain) -> None:
    assert check(Stack(lambda: nn.Sequential(scaled(gain)(), FrozenBatchNorm1d(48)), 12)) == []


def test_layer_scale_and_zero_branches_are_silent() -> None:
    assert check(Stack(lambda: LayerScale(scaled(1.0)()), 12)) == []
    assert check(Stack(lambda: Residual(scaled(0.0)()), 12)) == []


def test_zero_head_is_silent() -> None:
    head = nn.Linear(48, 5)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    assert check(Stack(scaled(1.0), 12, head=head)) == []


class Frozen(nn.Module):
    """A norm with frozen statistics by another name, written another way."""

    def __init__(self, features):
        super().__init__()
        self.register_buffer("shift", torch.zeros(features))
        self.register_buffer("inverse", torch.ones(features))

    def forward(self, x):
        return torch.sub(x, self.shift).mul(self.inverse)


def test_a_frozen_norm_is_known_by_what_it_does_not_by_its_name() -> None:
    assert check(Stack(lambda: nn.Sequential(scaled(0.1)(), Frozen(48)), 12)) == []


class Normalized(Stack):
    """The data is normalized with buffers before the first layer: nothing resets the scale after it."""

    def __init__(self, block, depth):
        super().__init__(block, depth)
        self.register_buffer("mean", torch.zeros(16))
        self.register_buffer("std", torch.ones(16))

    def forward(self, x):
        return super().forward((x - self.mean) / self.std)


class FrozenDrop(nn.Module):
    """A name that says nothing: no buffer is in it."""

    def forward(self, x):
        return x


def test_buffers_that_normalize_the_data_hide_no_decay() -> None:
    decay = check(Stack(scaled(0.1), 12))
    assert decay
    assert check(Normalized(scaled(0.1), 12)) == decay
    assert check(Stack(lambda: nn.Sequential(scaled(0.1)(), FrozenDrop()), 12)) == decay
