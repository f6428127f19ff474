"""TRN003 frozen-parameter-moved: A parameter that is meant to be frozen changes when the optimizer steps."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tests.rules.training.training import found, mlp


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.backbone, self.head = mlp(classes=16), nn.Linear(16, 5)

    def forward(self, x):
        return self.head(torch.relu(self.backbone(x)))


@pytest.mark.parametrize("frozen", ["backbone", "backbone.*", ("*.0", "nothing.*")])
def test_declared_frozen_and_moved(frozen):
    (finding,) = found("TRN003", Backbone(), frozen=frozen)
    assert finding.module == "backbone.0"
    assert "declared frozen but trainable" in finding.message


def test_frozen_for_real_in_any_way():
    frozen = Backbone()
    frozen.backbone.requires_grad_(False)
    assert found("TRN003", frozen, frozen="backbone") == []
    left_out = Backbone()
    optimizer = torch.optim.SGD(left_out.head.parameters(), lr=0.1)
    assert found("TRN003", left_out, optimizer, frozen="backbone") == []
    assert found("TRN003", Backbone()) == []


class Averaged(nn.Module):
    """A teacher that the forward itself moves; or one that is a view of the student."""

    def __init__(self, *, shared):
        super().__init__()
        torch.manual_seed(0)
        self.student = nn.Linear(20, 5)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.shared = shared
        if shared:
            self.teacher.weight.data = self.student.weight.data

    def forward(self, x):
        if not self.shared:
            with torch.no_grad():
                self.teacher.weight.lerp_(self.student.weight, 0.5)
        return self.student(x) + self.teacher(x).detach()


@pytest.mark.parametrize(("shared", "modules"), [(True, ["teacher"]), (False, [])])
def test_moving_averages_are_fine_and_shared_memory_is_not(shared, modules):
    model = Averaged(shared=shared)
    findings = found("TRN003", model, torch.optim.SGD(model.student.parameters(), lr=0.1))
    assert [finding.module for finding in findings] == modules
