"""SIG001 dead-units: rectified units that are zero at every position of every sample of the batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.rules.signal.units import Functional, findings


def shifted(bias, width=64):
    """An MLP whose hidden pre-activations are shifted by `bias`."""
    torch.manual_seed(0)
    layer = nn.Linear(20, width)
    nn.init.constant_(layer.bias, bias)
    return layer


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
