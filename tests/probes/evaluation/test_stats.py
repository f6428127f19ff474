"""Evaluation mode against itself and against training mode."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nnlint.finding import Skip
from tests.probes.sessions import session


class Net(nn.Module):
    """Two linear layers with something between them."""

    def __init__(self, between, last=None):
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.fc2 = nn.Linear(10, 64), nn.Linear(64, 5)
        self.between, self.last = between, last or (lambda net, x: x)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.last(self, self.fc2(self.between(self, torch.relu(self.fc1(x)))))


def stats(between, last=None, samples=16, **fields):
    torch.manual_seed(1)
    return session(Net(between, last), torch.randn(samples, 10), **fields).evidence("EvalStats")


@pytest.mark.parametrize(
    ("between", "op", "from_dropout"),
    [
        (lambda net, h: F.dropout(h, 0.3), "dropout", True),
        (lambda net, h: F.alpha_dropout(h, 0.3, training=True), "alpha_dropout", True),
        (lambda net, h: h + torch.randn_like(h), "randn_like", False),
        (lambda net, h: h * torch.bernoulli(torch.full_like(h, 0.5)), "bernoulli", False),
        (lambda net, h: h[:, torch.randperm(64)], "getitem", False),
        (lambda net, h: h + torch.empty_like(h).normal_(), "normal", False),
    ],
    ids=["dropout", "alpha dropout", "noise", "bernoulli", "permutation", "in place"],
)
def test_randomness_names_its_op(between, op, from_dropout) -> None:
    found = stats(between).randomness
    assert found is not None
    assert found.op is not None
    assert (found.op.name, found.from_dropout) == (op, from_dropout)
    assert found.difference > 0.01


def test_dropout_inside_a_recurrent_layer_that_stays_in_training_mode() -> None:
    class Stubborn(nn.GRU):
        def train(self, mode=True):
            return super().train(True)

    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = Stubborn(8, 8, num_layers=2, dropout=0.5, batch_first=True)

        def forward(self, x):
            return self.rnn(x)[0][:, -1]

    found = session(Recurrent(), torch.randn(8, 5, 8)).evidence("EvalStats").randomness
    assert found is not None
    assert found.op is not None
    assert found.op.name == "gru"
    assert found.from_dropout


@pytest.mark.parametrize(
    "between",
    [
        lambda net, h: net.drop(h),
        lambda net, h: F.dropout(h, 0.3, training=net.training),
        lambda net, h: h + torch.randn_like(h) if net.training else h,
        lambda net, h: h - h.mean(dim=0),
    ],
    ids=["module", "functional", "noise in training", "mixing is not randomness"],
)
def test_repeatable_models(between) -> None:
    assert stats(between).randomness is None


def test_without_a_batch_axis_in_the_output() -> None:
    def scalar(net, x):
        return x.mean()

    assert stats(lambda net, h: h, scalar).randomness is None
    assert stats(lambda net, h: F.dropout(h), scalar).randomness is not None
    assert stats(lambda net, h: h, scalar).output_spread is None


def test_spread_of_the_outputs() -> None:
    assert stats(lambda net, h: h).output_spread > 0.1
    assert stats(lambda net, h: torch.zeros_like(h)).output_spread == 0.0
    assert stats(lambda net, h: h, samples=1).output_spread is None


def test_equal_samples_are_told() -> None:
    found = session(Net(lambda net, h: h), torch.ones(8, 10)).evidence("EvalStats")
    assert not found.samples_differ
    assert stats(lambda net, h: h).samples_differ


def test_a_zero_head_shows_its_input_after_a_step() -> None:
    model = Net(lambda net, h: h)
    nn.init.zeros_(model.fc2.weight)
    torch.manual_seed(1)
    fields = {"targets": torch.randint(0, 5, (16,)), "loss": nn.CrossEntropyLoss()}
    found = session(model, torch.randn(16, 10), **fields).evidence("EvalStats")
    assert found.output_spread == 0.0
    assert found.spread_after_steps > 0.01
    assert not model.fc2.weight.any()  # the caller's head is as it was


def test_a_zero_gate_behind_a_zero_head_shows_after_more_steps() -> None:
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.head, self.gate = nn.Linear(10, 8), nn.Linear(8, 5), nn.Parameter(torch.zeros(1))
            nn.init.zeros_(self.head.weight)

        def forward(self, x):
            return self.head(torch.ones_like(x[:, :8]) + self.gate * self.fc(x))

    torch.manual_seed(1)
    fields = {"targets": torch.randint(0, 5, (16,)), "loss": nn.CrossEntropyLoss()}
    found = session(Gated(), torch.randn(16, 10), **fields).evidence("EvalStats")
    assert found.output_spread == 0.0
    assert found.spread_after_steps > 1e-6


def test_an_untrainable_model_gets_no_second_look() -> None:
    model = Net(lambda net, h: torch.zeros_like(h)).requires_grad_(False)
    found = session(model, torch.randn(8, 10)).evidence("EvalStats")
    with pytest.raises(Skip, match="no trainable parameter"):
        _ = found.spread_after_steps


# -------------------------------------------------------------------- training against evaluation


@pytest.mark.parametrize(
    ("between", "last"),
    [
        (lambda net, h: net.drop(h), None),
        (lambda net, h: F.scaled_dot_product_attention(h, h, h, dropout_p=0.5 if net.training else 0.0), None),
        (lambda net, h: h, lambda net, x: x if net.training else (x, x)),
    ],
    ids=["dropout", "attention dropout", "another structure"],
)
def test_no_gap(between, last) -> None:
    assert stats(between, last).gap is None


def test_batch_statistics_are_no_gap() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 5))
    model[1].running_mean.fill_(3.0)
    assert session(model, torch.randn(16, 10)).evidence("EvalStats").gap is None


def test_a_branch_on_the_mode_is_a_gap_and_is_named() -> None:
    gap = stats(lambda net, h: torch.tanh(4 * h) if net.training else h).gap
    assert gap is not None
    assert gap.op is not None
    assert gap.noise == 0.0
    assert gap.size > 0.3


@pytest.mark.parametrize(
    "squash", [lambda x: x.softmax(dim=-1), torch.sigmoid, lambda x: x / 3], ids=["softmax", "sigmoid", "temperature"]
)
def test_squashing_in_evaluation_is_told(squash) -> None:
    gap = stats(lambda net, h: h, lambda net, x: x if net.training else squash(x)).gap
    assert gap is not None
    assert gap.squashed


def test_noise_is_averaged_out() -> None:
    def dropped(scale):
        return lambda net, h: h * (torch.rand_like(h) > 0.5) * scale if net.training else h

    healthy, forgotten = stats(dropped(2.0)).gap, stats(dropped(1.0)).gap
    assert healthy.size < 0.6 * healthy.noise
    assert forgotten.size > 0.8 * forgotten.noise


def test_random_evaluation_has_no_gap_to_measure() -> None:
    with pytest.raises(Skip, match="evaluation mode is random"):
        _ = stats(lambda net, h: F.dropout(h)).gap


def test_the_same_noise_in_both_modes_is_no_gap() -> None:
    assert stats(lambda net, h: h + torch.randn_like(h)).gap is None
    assert stats(lambda net, h: h * (torch.rand_like(h) > 0.5)).gap is None
    with pytest.raises(Skip, match="evaluation mode is random"):
        _ = stats(lambda net, h: h + torch.randn_like(h) * (1 + net.training)).gap


def test_a_forward_that_needs_training_mode_is_skipped_with_its_error() -> None:
    def picky(net, h):
        if not net.training:
            raise ValueError("train me")
        return h

    with pytest.raises(Skip, match=r"the probe 'evaluation passes' raised ValueError: train me \(RUN008\)"):
        _ = stats(picky).randomness
