"""ARC025 ineffective-freeze: `requires_grad` set where it has no effect."""

from __future__ import annotations

import pytest
from torch import nn

from nnlint.testing import findings


def test_a_flag_on_a_module():
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    net[0].requires_grad = False
    (finding,) = findings("ARC025", net)
    assert (finding.module, finding.level.value) == ("0", "warning")


def test_a_flag_that_was_to_unfreeze():
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    net[0].requires_grad_(False)
    net[0].requires_grad = True
    (finding,) = findings("ARC025", net)
    assert finding.module == "0"


@pytest.mark.parametrize("name", ["require_grad", "requires_grads", "requiresgrad"])
def test_a_misspelt_flag_on_a_parameter(name):
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    setattr(net[0].weight, name, False)
    (finding,) = findings("ARC025", net)
    assert finding.module == "0"


def frozen(net):
    net[0].requires_grad_(False)


def frozen_twice(net):
    net[0].requires_grad_(False)
    net[0].requires_grad = False


def by_parameter(net):
    for parameter in net[0].parameters():
        parameter.requires_grad = False


@pytest.mark.parametrize("freeze", [frozen, frozen_twice, by_parameter, lambda net: None])
def test_freezing_that_works(freeze):
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    freeze(net)
    assert not findings("ARC025", net)
