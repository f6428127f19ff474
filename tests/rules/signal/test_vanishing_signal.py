"""SIG004 vanishing-signal: the scale of the pre-activations shrinks geometrically from layer to layer."""

from __future__ import annotations

import torch
from torch import nn

import nnlint


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
