"""GRD003: parameters without a gradient, told from those that get theirs later."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import nnlint


class NoBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return None


class Net(nn.Module):
    def __init__(self, between=torch.relu):
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.fc2 = nn.Linear(16, 32), nn.Linear(32, 5)
        self.between = between

    def forward(self, x):
        return self.fc2(self.between(self.fc1(x)))


def check(model, inputs=None, targets=None, **parts):
    torch.manual_seed(1)
    setup = {
        "model": model,
        "inputs": torch.randn(16, 16) if inputs is None else inputs,
        "targets": torch.arange(16) % 5 if targets is None else targets,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        **parts,
    }
    report = nnlint.check(setup, select=["GRD003"]).results[0]
    assert report.skipped == []
    return [(item.level.value, item.module) for item in report.findings]


class Calls(Net):
    def forward(self, x):
        return self.fc2(NoBackward.apply(self.fc1(x)))


@pytest.mark.parametrize("model", [Calls(), Net(NoBackward.apply)], ids=["called by class", "apply bound before"])
def test_custom_function_without_a_gradient(model) -> None:
    report = nnlint.check({"model": model, "inputs": torch.randn(16, 16)}, select=["GRD003"]).results[0]
    (finding,) = report.findings
    assert finding.level.value == "error"
    assert finding.evidence == {"parameters": ["fc1.weight", "fc1.bias"], "function": "NoBackward"}
    assert "fc1" in finding.modules


def test_weight_norm_of_a_layer_whose_input_is_zero_is_silent() -> None:
    model = Net()
    model.side = nn.utils.parametrizations.weight_norm(nn.Linear(4, 32))
    model.between = lambda h: torch.relu(h + model.side(h[:, :4] * 0.0))
    assert check(model) == []


def test_healthy_net_is_silent() -> None:
    assert check(Net()) == []


@pytest.mark.parametrize(
    "between", [lambda h: h * 0.0, lambda h: torch.relu(h - 1e6), lambda h: torch.zeros_like(h) * h]
)
def test_gradient_that_stays_zero(between) -> None:
    assert check(Net(between)) == [("error", "fc1")]


class ZeroBranch(Net):
    """Residual branch whose last layer starts at zero: its first layer has no gradient until that layer has moved."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(32, 32), nn.Linear(32, 32)
        nn.init.zeros_(self.b.weight)
        nn.init.zeros_(self.b.bias)
        self.between = self.block

    def block(self, h):
        return h + self.b(torch.relu(self.a(h)))


class ZeroHead(Net):
    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.fc2.weight)


class LoRA(Net):
    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Linear(32, 4, bias=False), nn.Linear(4, 32, bias=False)
        nn.init.zeros_(self.up.weight)
        self.between = lambda h: torch.relu(h + self.up(self.down(h)))


@pytest.mark.parametrize("model", [ZeroBranch, ZeroHead, LoRA])
def test_what_wakes_up_after_a_step_is_silent(model) -> None:
    assert check(model()) == []


def test_bias_before_batch_norm_is_silent() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 5))
    assert check(model) == []


def test_embedding_rows_are_silent() -> None:
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.embedding, self.extra, self.head = nn.Embedding(500, 16), nn.Embedding(4, 16), nn.Linear(16, 5)
            nn.init.zeros_(self.extra.weight)

        def forward(self, ids):
            return self.head((self.embedding(ids) + 0.0 * self.extra(ids % 4)).mean(1))

    assert check(Tokens(), torch.randint(0, 500, (16, 6))) == []


class Experts(Net):
    """A mixture whose second expert is given no sample of the batch."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(32, 32), nn.Linear(32, 32)
        self.between = self.route

    def route(self, h):
        chosen = h.sum(1) < 1e6
        out = torch.zeros_like(h)
        out[chosen] = self.first(h[chosen])
        out[~chosen] = self.second(h[~chosen])
        return torch.relu(out)


def test_idle_expert_is_silent() -> None:
    assert check(Experts()) == []


class Selected(Net):
    """A learned token for samples that have none, and a layer for positions that the loss does not look at."""

    def __init__(self):
        super().__init__()
        self.token, self.other = nn.Parameter(torch.randn(32)), nn.Linear(32, 32)
        self.between = self.fill

    def fill(self, h):
        h = torch.where((h > 1e6).any(1, keepdim=True), self.token, torch.relu(h))
        return torch.stack([h, self.other(h)], 1)[:, 0]


def test_what_the_batch_does_not_select_is_silent() -> None:
    assert check(Selected()) == []


def test_layer_whose_input_is_zero_in_this_batch_is_silent() -> None:
    model = Net()
    inputs = torch.randn(16, 16)
    model.side = nn.Linear(4, 32, bias=False)
    model.between = lambda h: torch.relu(h + model.side(torch.zeros(16, 4)))
    assert check(model, inputs) == []


class TwoHeads(Net):
    def __init__(self):
        super().__init__()
        self.other = nn.Linear(32, 3)

    def forward(self, x):
        h = torch.relu(self.fc1(x))
        self.side = self.other(h)
        return self.fc2(h)


def test_unused_head_is_an_info_unless_declared() -> None:
    assert check(TwoHeads()) == [("info", "other")]
    assert check(TwoHeads(), declared={"unused-heads"}) == []


def test_parameter_never_read_is_an_info() -> None:
    model = Net()
    model.mask_token = nn.Parameter(torch.zeros(32))
    assert check(model) == [("info", "")]


def test_declared_frozen_is_silent() -> None:
    assert check(Net(NoBackward.apply), frozen=("fc1",)) == []


@pytest.mark.parametrize(
    "cut",
    [lambda h: h.detach(), lambda h: h.data, lambda h: nn.functional.one_hot(h.max(1).indices, 32).float()],
    ids=["detach", "data", "indices of max"],
)
def test_cuts_are_another_rules_matter(cut) -> None:
    """ARC007 names the op that cuts, and knows teachers and straight-through estimators."""
    assert check(Net(cut)) == []


class SwitchedOff(nn.Module):
    """A second branch that a factor of zero switches off, with axes added behind it, and a head that starts at zero."""

    def __init__(self, index):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.time, self.extra = nn.Conv2d(3, 8, 3), nn.Linear(16, 8), nn.Linear(16, 8)
        self.head = nn.Linear(8, 5)
        nn.init.zeros_(self.head.weight)
        self.index = index

    def forward(self, x, t):
        shift = self.time(t) + 0.0 * torch.tanh(self.extra(t))
        return self.head(torch.relu(self.conv(x) + shift[self.index]).mean((2, 3)))


def test_an_index_that_adds_axes_selects_nothing() -> None:
    inputs = (torch.randn(16, 3, 8, 8), torch.randn(16, 16))
    assert check(SwitchedOff((slice(None), slice(None), None, None)), inputs) == [("error", "extra")]
    assert check(SwitchedOff((Ellipsis, None, None)), inputs) == [("error", "extra")]


def test_a_factor_of_zero_is_seen_behind_a_slice() -> None:
    class Selected(SwitchedOff):
        def forward(self, x, t):
            return self.head(torch.relu(self.conv(x)).mean((2, 3))) + self.time(t)[:, :5] + 0.0 * self.extra(t)[:, 3:]

    assert check(Selected(None), (torch.randn(16, 3, 8, 8), torch.randn(16, 16))) == [("error", "extra")]
