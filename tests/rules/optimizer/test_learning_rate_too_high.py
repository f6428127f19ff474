"""OPT003 learning-rate-too-high: A learning rate at which the weights are overwritten rather than adjusted."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import nnlint
from tests.rules.optimizer.learning_rates import found, mlp, result, sgd


def test_updates_as_large_as_the_weights():
    model = mlp()
    ((level, message),) = found("OPT003", model, sgd(model, lr=10.0, momentum=0.9))
    assert level == "error"
    assert "of their norm in one update" in message


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: torch.optim.Adam(p, lr=1e-2),
        lambda p: torch.optim.AdamW(p, lr=1e-3),
        lambda p: torch.optim.RMSprop(p, lr=1e-3),
        lambda p: torch.optim.Adagrad(p, lr=1e-2),
    ],
)
def test_usual_rates(make):
    model = mlp()
    assert found("OPT003", model, make(model.parameters())) == []


class Scaled(nn.Module):
    """LayerScale, a branch that starts at zero, a head that starts at zero."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.branch, self.back = nn.Linear(20, 64), nn.Linear(64, 64), nn.Linear(64, 64)
        self.scale = nn.Parameter(torch.full((64,), 1e-6))
        self.head = nn.Linear(64, 5)
        nn.init.zeros_(self.back.weight)
        nn.init.zeros_(self.head.weight)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.scale * torch.relu(self.branch(x)) + self.back(torch.relu(x))
        return self.head(x)


class Collapsing(nn.Module):
    """Two views are to agree, which any collapse satisfies: the loss falls at every rate."""

    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, x):
        h = self.net(x)
        return (h - h.mean(0)).square().mean() / (1 + h.square().mean())


def test_weights_that_each_update_replaces_although_the_loss_falls():
    model = Collapsing()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)
    report = result("OPT003", model, optimizer, loss=lambda output, _: output)
    assert [finding.code for finding in report.findings] == ["OPT003"]


@pytest.mark.parametrize("rate", [1e-3, 5e-3])
def test_layer_scale_and_zero_initialized_tensors(rate):
    model = Scaled()
    assert found("OPT003", model, torch.optim.Adam(model.parameters(), lr=rate)) == []


def test_the_range_test_speaks_against_a_rate_near_divergence():
    torch.manual_seed(0)
    model, inputs = nn.Linear(20, 1), torch.randn(64, 20)
    fields = {"inputs": inputs, "targets": inputs[:, :3].sum(dim=1, keepdim=True), "loss": nn.MSELoss()}
    ((level, message),) = found("OPT003", model, sgd(model, lr=0.395), probes=("lr-range",), **fields)
    assert level == "warning"
    assert "above a third of" in message
    assert [level for level, _ in found("OPT003", model, sgd(model, lr=0.3), probes=("lr-range",), **fields)] == [
        "info"
    ]
    assert found("OPT003", model, sgd(model, lr=0.05), probes=("lr-range",), **fields) == []


class Guarded(nn.Module):
    """Raises where its activations have exploded."""

    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, x):
        h = self.net(x)
        if h.abs().max() > 5:
            raise ValueError("the activations exploded")
        return h


def distance(output, target):
    """Falls until the activations are too large."""
    return (output - target).abs().mean()


def probability_loss(output, target):
    """Raises on what is no probability; bounded, so that no rise of the loss ends the sweep before."""
    return nn.functional.binary_cross_entropy(output / 10 + 0.5, target).clamp(max=1)


@pytest.mark.parametrize(
    ("make", "loss", "targets"),
    [(Guarded, distance, torch.full((64, 5), 10.0)), (mlp, probability_loss, torch.full((64, 5), 0.9))],
    ids=["guard", "probabilities"],
)
def test_a_loss_that_raises_at_a_rate_nobody_asked_for_is_a_divergence(make, loss, targets):
    torch.manual_seed(0)
    model = make()
    fields = {"loss": loss, "targets": targets, "probes": ("lr-range",)}
    checked = result("OPT003", model, sgd(model, lr=1e-5), **fields)
    assert checked.status == "ok"
    assert not math.isfinite(float(checked.measurements["lr-range"]["losses"][-1]))


def test_an_overshoot_that_momentum_comes_back_from_is_no_divergence():
    """At twice the configured rate the loss of the first steps triples, and then falls below where it began."""
    model, images = overshooting(0)
    fields = {"inputs": images, "targets": torch.arange(32) % 10}
    settings = {"probes": ("lr-range",), "rules": {"OPT003": {"ratio": 1e9}}}
    checked = result("OPT003", model, sgd(model, lr=0.05, momentum=0.9), **settings, **fields)
    assert checked.findings == []
    near = [trial for trial in checked.measurements["lr-range"]["trials"] if trial["rate"] <= 0.15]
    assert any(max(trial["losses"]) > 2 * trial["losses"][0] for trial in near)
    assert not any(trial["diverged"] for trial in near)


def test_a_spike_that_is_made_good_is_a_warning():
    model = mlp()
    ((level, message),) = found("OPT003", model, torch.optim.AdamW(model.parameters(), lr=0.1))
    assert level == "warning"
    assert "over" in message


def overshooting(seed):
    """A small convolutional net that momentum at 0.1 throws off at first, and that trains to zero all the same."""
    torch.manual_seed(seed)
    layers = []
    for width_in, width in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(width_in, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 16, 10)), torch.randn(32, 3, 32, 32)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_loss_on_its_way_back_is_no_warning(seed):
    model, images = overshooting(seed)
    fields = {"inputs": images, "targets": torch.arange(32) % 10}
    (entry,) = result("OPT003", model, sgd(model, lr=0.08, momentum=0.9), **fields).findings
    assert entry.level.value == "info"
    losses = entry.evidence["losses"]
    assert losses[-1] < losses[-2] < max(losses)
    assert max(losses) > 1.5 * losses[0]  # it is not silent for a loss that only falls


def test_few_samples_that_are_learned_in_spite_of_large_updates():
    """Batch norm over two samples: the loss jumps between zero and far above where it began."""
    fields = {"targets": torch.arange(2)}
    for least, expected in ((8, "info"), (2, "warning")):
        model, images = overshooting(0)
        settings = {"rules": {"OPT003": {"min_samples": least, "ratio": 1e-6, "fatal_ratio": 1e-5}}}
        fields["inputs"] = images[:2]
        (entry,) = result("OPT003", model, sgd(model, lr=0.1, momentum=0.9), **settings, **fields).findings
        assert entry.evidence["losses"][-1] < entry.evidence["losses"][0] < max(entry.evidence["losses"])
        assert entry.level.value == expected


def test_without_deep_the_steps_alone_decide():
    model = mlp()
    assert found("OPT003", model, torch.optim.AdamW(model.parameters(), lr=0.03)) == []
    torch.manual_seed(0)
    checked = nnlint.check({"model": mlp(), "inputs": torch.randn(8, 20)}, select=["OPT003"]).results[0]
    assert [entry.reason for entry in checked.skipped] == ["no optimizer given"]
