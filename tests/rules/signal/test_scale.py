"""SIG004 and SIG005: decay and growth through depth, and the nets whose scale is somebody else's work."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnlint


class Stack(nn.Module):
    def __init__(self, block, depth, head=None):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Linear(16, 48)
        self.blocks = nn.ModuleList(block() for _ in range(depth))
        self.head = head or nn.Linear(48, 5)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def scaled(gain):
    """A ReLU block whose layer has `gain` times the He std."""

    def make():
        layer = nn.Linear(48, 48, bias=False)
        nn.init.normal_(layer.weight, std=gain * (2 / 48) ** 0.5)
        return nn.Sequential(nn.ReLU(), layer)

    return make


class Residual(nn.Module):
    def __init__(self, branch):
        super().__init__()
        self.branch = branch

    def forward(self, x):
        return x + self.branch(x)


class LayerScale(Residual):
    def __init__(self, branch, start=1e-6):
        super().__init__(branch)
        self.gamma = nn.Parameter(torch.full((48,), start))

    def forward(self, x):
        return x + self.gamma * self.branch(x)


def check(model, codes=("SIG004", "SIG005")):
    torch.manual_seed(1)
    report = nnlint.check({"model": model, "inputs": torch.randn(32, 16)}, select=list(codes)).results[0]
    assert report.skipped == []
    return [(item.code, item.level.value) for item in report.findings]


@pytest.mark.parametrize(
    ("gain", "depth", "expected"),
    [
        (1.0, 12, []),
        (0.4, 12, [("SIG004", "warning")]),
        (0.1, 6, [("SIG004", "warning")]),
        (0.8, 12, []),
        (0.4, 3, []),
        (2.0, 12, [("SIG005", "warning")]),
        (1.3, 12, []),
        (8.0, 8, [("SIG005", "error")]),
        (1e8, 8, [("SIG005", "error")]),
    ],
)
def test_plain_stack(gain, depth, expected) -> None:
    assert check(Stack(scaled(gain), depth)) == expected


@pytest.mark.parametrize(("start", "expected"), [(1e-4, []), (1.0, [("SIG005", "warning")])])
def test_a_small_signal_that_comes_up_to_order_one_does_not_explode(start, expected) -> None:
    model = Stack(scaled(2.0), 12)
    nn.init.normal_(model.stem.weight, std=start / 4)
    nn.init.zeros_(model.stem.bias)
    assert check(model) == expected


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


def test_residual_growth() -> None:
    grown = Stack(lambda: Residual(scaled(2.0)()), 16)
    assert check(grown) == [("SIG005", "warning")]
    normalized = Stack(lambda: Residual(scaled(2.0)()), 16, head=nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 5)))
    assert check(normalized) == []


class SqueezeExcite(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(12, 6, 1, bias=False), nn.Conv2d(6, 12, 1, bias=False)
        for layer in (self.down, self.up):
            nn.init.normal_(layer.weight, std=1e-3)

    def forward(self, x):
        gate = self.up(torch.relu(self.down(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(gate)


def test_gate_of_squeeze_excite_is_silent() -> None:
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(3 if index == 0 else 12, 12, 3, padding=1) for index in range(4)]
    model = nn.Sequential(*convolutions, SqueezeExcite())
    report = nnlint.check({"model": model, "inputs": torch.randn(8, 3, 16, 16)}, select=["SIG004"]).results[0]
    assert report.findings == []


def test_pre_norm_transformer_is_silent() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(48, 4, 96, batch_first=True, norm_first=True, dropout=0.0)
    encoder = nn.TransformerEncoder(layer, 8, norm=nn.LayerNorm(48), enable_nested_tensor=False)
    report = nnlint.check({"model": encoder, "inputs": torch.randn(4, 7, 48)}, select=["SIG004", "SIG005"]).results[0]
    assert report.findings == []


def test_convolutions_and_functional_form() -> None:
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.weights = nn.ParameterList(nn.Parameter(torch.randn(12, 12, 3, 3) * 0.03) for _ in range(10))

        def forward(self, x):
            for weight in self.weights:
                x = nn.functional.relu(nn.functional.conv2d(x, weight, padding=1))
            return x.mean((2, 3))

    report = nnlint.check({"model": Net(), "inputs": torch.randn(8, 12, 8, 8)}, select=["SIG004", "SIG005"]).results[0]
    assert [item.code for item in report.findings] == ["SIG004"]
    assert report.findings[0].evidence["layers"] == 10


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
