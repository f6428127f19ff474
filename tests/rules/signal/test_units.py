"""SIG001 and SIG002: what counts as a dead or saturated unit, and what does not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnlint


def findings(code, model, inputs, **settings):
    report = nnlint.check({"model": model, "inputs": inputs}, select=[code], **settings)
    assert [skipped.reason for skipped in report.results[0].skipped] == []
    return report.results[0].findings


def shifted(bias, width=64):
    """An MLP whose hidden pre-activations are shifted by `bias`."""
    torch.manual_seed(0)
    layer = nn.Linear(20, width)
    nn.init.constant_(layer.bias, bias)
    return layer


class Functional(nn.Module):
    def __init__(self, layer, activation):
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(64, 5)
        self.activation = activation

    def forward(self, x):
        return self.head(self.activation(self.layer(x)))


@pytest.mark.parametrize(
    "activation",
    [
        nn.ReLU(),
        torch.relu,
        torch.nn.functional.relu6,
        lambda x: x.relu(),
        lambda x: torch.nn.functional.relu(x, inplace=True),
    ],
    ids=["module", "function", "relu6", "method", "in place"],
)
def test_dead_layer_in_every_idiom(activation) -> None:
    found = findings("SIG001", Functional(shifted(-10.0), activation), torch.randn(64, 20))
    assert [(item.code, item.level.value) for item in found] == [("SIG001", "error")]
    assert found[0].evidence["never_active"] == 64
    assert "layer (Linear)" in found[0].fix


def test_mostly_dead_layer_is_a_warning() -> None:
    layer = shifted(0.0)
    nn.init.constant_(layer.bias[:48].data, -10.0)
    found = findings("SIG001", Functional(layer, torch.relu), torch.randn(64, 20))
    assert [(item.level.value, item.evidence["never_active"]) for item in found] == [("warning", 48)]


def test_small_batch_is_an_info() -> None:
    found = findings("SIG001", Functional(shifted(-10.0), torch.relu), torch.randn(16, 20))
    assert [item.level.value for item in found] == ["info"]
    assert "16 samples" in found[0].message


def test_share_of_plain_nets_on_noise_is_silent() -> None:
    layer = shifted(0.0)
    nn.init.constant_(layer.bias[:30].data, -10.0)  # 47 %
    assert findings("SIG001", Functional(layer, torch.relu), torch.randn(64, 20)) == []


def test_few_units_can_be_off_by_chance() -> None:
    """The hidden layer of a squeeze-excite block: all samples look alike, so each unit is a coin toss."""
    torch.manual_seed(0)
    squeeze, expand = nn.Linear(64, 8), nn.Linear(8, 64)
    nn.init.constant_(squeeze.bias[:6].data, -10.0)
    found = findings("SIG001", nn.Sequential(squeeze, nn.ReLU(), expand), torch.randn(64, 64))
    assert [item.level.value for item in found] == ["info"]


def test_branch_that_starts_at_zero_is_silent() -> None:
    layer = shifted(0.0)
    nn.init.zeros_(layer.weight)
    assert findings("SIG001", Functional(layer, torch.relu), torch.randn(64, 20)) == []


def test_threshold_is_an_option() -> None:
    layer = shifted(0.0)
    nn.init.constant_(layer.bias[:30].data, -10.0)
    found = findings(
        "SIG001", Functional(layer, torch.relu), torch.randn(64, 20), rules={"SIG001": {"share": 0.4, "chance": 1.0}}
    )
    assert [item.evidence["limit"] for item in found] == [0.4]


@pytest.mark.parametrize(
    ("activation", "gain", "level"),
    [
        (torch.sigmoid, 1.0, None),
        (torch.sigmoid, 20.0, "warning"),
        (torch.sigmoid, 500.0, "error"),
        (nn.Tanh(), 1.0, None),
        (nn.Tanh(), 8.0, "warning"),
        (lambda x: x.tanh(), 100.0, "error"),
        (nn.Hardtanh(), 8.0, "warning"),
        (nn.Hardtanh(0.0, 6.0), 8.0, None),
        (nn.Softsign(), 8.0, None),
    ],
)
def test_saturation(activation, gain, level) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(20, 64)
    nn.init.normal_(layer.weight, std=0.13 * gain)
    found = findings("SIG002", Functional(layer, activation), torch.randn(64, 20))
    assert [item.level.value for item in found] == ([level] if level else [])


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.value, self.gate, self.head = nn.Linear(20, 64), nn.Linear(20, 64), nn.Linear(64, 5)
        nn.init.constant_(self.gate.bias, -6.0)

    def forward(self, x):
        gate = torch.sigmoid(self.gate(x))
        return self.head(gate * self.value(x))


class Highway(Gated):
    def forward(self, x):
        h = self.value(x)
        gate = self.gate(x).sigmoid().unsqueeze(-1).squeeze(-1)
        return self.head((1 - gate) * h + h)


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(20, 64), nn.Linear(64, 5)
        nn.init.constant_(self.head.bias, -6.0)

    def forward(self, x):
        return torch.sigmoid(self.head(torch.relu(self.body(x))))


@pytest.mark.parametrize("model", [Gated, Highway, Detector])
def test_gates_meant_to_be_closed_and_priors_are_silent(model) -> None:
    assert findings("SIG002", model(), torch.randn(64, 20)) == []
