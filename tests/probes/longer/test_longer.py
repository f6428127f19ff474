"""The other longer probes: input dependence, validation gap, precision, gradcheck; and the budget over all of them."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nnlint
from nnlint.evidence import PROBES
from nnlint.finding import Skip
from nnlint.probes.longer import input_dependence, lr_range, overfit
from nnlint.probes.longer.input_dependence import run_input_dependence
from nnlint.probes.session import Plan
from tests.probes.sessions import session


def mlp(*layers):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), *layers, nn.Linear(64, 4))


def asked(name, model, inputs=None, **fields):
    plan = fields.pop("plan", None) or Plan(probes=(name,))
    fields = {"targets": torch.arange(32) % 4, "loss": nn.CrossEntropyLoss(), **fields}
    return session(model, torch.randn(32, 20) if inputs is None else inputs, plan=plan, **fields)


# ------------------------------------------------------------ input dependence


class Masked(nn.Module):
    """Sees nothing of its input in training."""

    def __init__(self):
        super().__init__()
        self.net = mlp()

    def forward(self, x):
        return self.net(x * 0.0 if self.training else x)


def dependence(model, inputs=None, steps=20, **fields):
    made = asked("input-dependence", model, inputs, **fields)
    return made.measure("x", lambda: run_input_dependence(made.setup, made.guard, seed=0, steps=steps))


def test_training_on_blinded_inputs():
    found = dependence(Masked())
    assert found.real == pytest.approx(found.blind, rel=1e-3)
    assert found.shuffled == pytest.approx(found.trained, rel=1e-6)
    learned = dependence(mlp(), steps=60)
    assert learned.real < 0.8 * learned.blind
    assert learned.shuffled > 1.5 * learned.trained


def test_labels_among_the_inputs_stay_where_they_are():
    class SelfTaught(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x, labels=None):
            return {"loss": F.cross_entropy(self.net(x), labels)}

    inputs = {"x": torch.randn(32, 20), "labels": torch.arange(32) % 4}
    found = dependence(SelfTaught(), inputs, targets=None, loss=None, steps=60)
    assert found.real < 0.8 * found.blind


@pytest.mark.parametrize(
    ("inputs", "targets", "reason"),
    [
        (torch.randn(4, 20), torch.arange(4), "needs 8 samples, got 4"),
        (torch.ones(32, 20), torch.arange(32) % 4, "all samples of the batch have the same input"),
    ],
)
def test_batches_that_say_nothing(inputs, targets, reason):
    with pytest.raises(Skip, match=reason):
        dependence(mlp(), inputs, targets=targets)


def test_a_fit_proves_the_dependence_without_another_step():
    made = asked("input-dependence", mlp(), plan=Plan(probes=("overfit", "input-dependence")))
    found = made.evidence("InputDependence")
    assert (found.steps, found.shuffled) == (0, None)
    assert found.real < 0.5 * found.blind


# -------------------------------------------------------------- validation gap


def halves(samples=32, batches=2):
    return [(torch.randn(samples, 20), torch.randint(0, 4, (samples,))) for _ in range(batches)]


def test_the_gap_of_noise_opens_and_dropout_is_compared():
    torch.manual_seed(0)
    model = mlp(nn.Dropout(0.5))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    made = asked("validation", model, data=halves(), val_data=halves(), optimizer=optimizer)
    found = made.evidence("ValidationGap")
    assert found.train[-1] < 0.5 * found.train[0]
    assert found.validation[-1] > 1.2 * found.validation[0]
    assert found.regularized == ("dropout",)
    assert found.plain_validation[-1] > found.validation[-1]  # dropout holds the gap back
    assert len(found.train) == len(found.validation) == 6


def test_batches_as_dicts_and_without_regularization():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, features):
            return self.net(features)

    data = [{"features": inputs, "labels": targets} for inputs, targets in halves()]
    made = asked("validation", Named(), {"features": data[0]["features"]}, data=data, val_data=data)
    found = made.evidence("ValidationGap")
    assert found.validation[-1] == pytest.approx(found.train[-1])
    assert (found.regularized, found.plain_validation) == ((), ())


@pytest.mark.parametrize(
    ("val_data", "reason"), [(None, "no validation data given"), (iter(halves()), "cannot be read again")]
)
def test_no_validation_data(val_data, reason):
    with pytest.raises(Skip, match=reason):
        asked("validation", mlp(), val_data=val_data).evidence("ValidationGap")


# ------------------------------------------------------------------- precision


class Large(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.first, self.last, self.scale = nn.Linear(20, 64), nn.Linear(64, 4), scale

    def forward(self, x):
        scores = self.first(x * self.scale)
        return self.last(scores / self.scale)


@pytest.mark.parametrize(
    ("scale", "precision", "overflows"), [(1e6, "fp16", True), (1e6, "bf16", False), (1.0, "fp16", False)]
)
def test_overflow_in_half_precision(scale, precision, overflows):
    torch.manual_seed(0)
    found = asked("precision", Large(scale), precision=precision).evidence("PrecisionStats")
    assert found.precision == precision
    assert [layer.module_path for layer in found.overflowing[:1]] == (["first"] if overflows else [])
    if not overflows:
        assert max(layer.relative_error for layer in found.layers) < 0.05


def test_masks_are_no_overflow():
    class Masking(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            scores = self.net(x).masked_fill(torch.eye(4, dtype=torch.bool)[:1], float("-inf"))
            return torch.softmax(scores, dim=1)

    found = asked("precision", Masking(), loss=nn.MSELoss(), targets=torch.rand(32, 4), precision="fp16")
    assert found.evidence("PrecisionStats").overflowing == ()


def test_precision_is_for_setups_that_lower_it():
    found = asked("overfit", mlp(), plan=Plan(deep=True)).evidence("PrecisionStats")
    assert (found.precision, found.layers, found.failure) == ("", (), None)


def test_precision_is_measured_by_default_where_it_is_declared():
    found = asked("overfit", mlp(), plan=Plan(), precision="bf16").evidence("PrecisionStats")
    assert len(found.layers) > 3


# ------------------------------------------------------------------- gradcheck


def function(forward, backward):
    class Custom(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return forward(x)

        @staticmethod
        def backward(ctx, grad):
            return backward(grad, *ctx.saved_tensors)

    return Custom


CASES = {
    "right square": (lambda x: x * x, lambda g, x: 2 * g * x, True),
    "wrong factor": (lambda x: x * x, lambda g, x: g * x, False),
    "wrong sign": (torch.tanh, lambda g, x: -g * (1 - torch.tanh(x) ** 2), False),
    "relu at exact zeros": (lambda x: 2 * x.clamp_min(0), lambda g, x: 2 * g * (x > 0), True),
    "reversed gradient": (lambda x: x.view_as(x), lambda g, x: -0.5 * g, None),
    "straight through": (torch.round, lambda g, x: g, None),
    "straight through on a grid": (lambda x: torch.round(4 * x) / 4, lambda g, x: g * (x.abs() < 1), None),
    "random": (lambda x: x + torch.randn_like(x), lambda g, x: g, None),
    "float32 only": (lambda x: x.float() if x.dtype == torch.float32 else 1 / 0, lambda g, x: g, None),
}


@pytest.mark.parametrize("name", CASES)
def test_gradcheck(name):
    forward, backward, passed = CASES[name]
    custom = function(forward, backward)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(20, 64), nn.Linear(64, 4)

        def forward(self, x):
            return self.last(custom.apply(torch.relu(self.first(x))))

    torch.manual_seed(0)
    (checked,) = asked("gradcheck", Net()).evidence("GradientCheck").functions
    assert checked.passed is passed, checked.detail
    if name == "wrong factor":
        assert "0.5 times" in checked.detail
    assert torch.autograd.Function.__dict__["apply"].__func__.__name__ == "apply"
    assert "gradcheck" not in torch.autograd.Function.__dict__["apply"].__func__.__module__


def test_arguments_that_want_no_gradient_and_matrices():
    class Rotate(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight, table, sign):
            ctx.save_for_backward(x, weight, table)
            ctx.sign = sign
            return sign * (x @ weight.T) * table

        @staticmethod
        def backward(ctx, grad):
            x, weight, table = ctx.saved_tensors
            scaled = ctx.sign * grad * table
            return scaled @ weight, scaled.T @ x, None, None

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(20, 4, bias=False)
            self.register_buffer("table", torch.rand(4))

        def forward(self, x):
            return Rotate.apply(x, self.inner.weight, self.table, -1.0)

    torch.manual_seed(0)
    (checked,) = asked("gradcheck", Net()).evidence("GradientCheck").functions
    assert checked.passed is True, checked.detail


def test_no_custom_function():
    with pytest.raises(Skip, match="calls no custom autograd.Function"):
        asked("gradcheck", mlp()).evidence("GradientCheck")


# --------------------------------------------------------- budget and reporting


def setup(**fields):
    torch.manual_seed(0)
    model = mlp()
    return {
        "model": model,
        "inputs": torch.randn(32, 20),
        "targets": torch.arange(32) % 4,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        **fields,
    }


class Slow(nn.Module):
    """Takes its time in training."""

    def __init__(self):
        super().__init__()
        self.net = mlp(nn.Softmax(dim=1))

    def forward(self, x):
        time.sleep(0.005)
        return torch.softmax(self.net(x), dim=1)


@pytest.mark.usefixtures("clock")
def test_a_budget_ends_the_probes_and_keeps_what_was_measured():
    model = Slow()
    fields = setup(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3))
    report = nnlint.check(fields, deep=True, budget=2.0).results[0]
    assert report.status == "ok"
    assert "LOS001" in {finding.code for finding in report.findings}
    assert report.measurements["initial_loss"] == pytest.approx(1.386, abs=0.05)
    skipped = {entry.code: entry.reason for entry in report.skipped}
    assert "the time budget was used up" in skipped["TRN001"]
    assert any("after" in reason and "steps" in reason for reason in skipped.values())


def test_the_report_carries_every_probe():
    report = nnlint.check(setup(), deep=True).results[0]
    assert set(PROBES) <= set(report.measurements)
    assert report.measurements["overfit"]["verdict"] == "fit"
    assert report.measurements["overfit"]["steps_to_fit"] > 0
    assert report.measurements["lr-range"]["position"] in {"below", "inside"}
    assert report.measurements["validation"] == {"skipped": "no validation data given"}
    assert not set(PROBES) & set(nnlint.check(setup()).results[0].measurements)


def test_one_probe_by_name():
    report = nnlint.check(setup(), probes=("lr-range",), select=("LOS001",)).results[0]
    assert set(PROBES) & set(report.measurements) == {"lr-range"}
    with pytest.raises(ValueError, match="unknown probe 'lr_range'.*did you mean lr-range"):
        nnlint.check(setup(), probes=("lr_range",))


def test_the_same_seed_gives_the_same_numbers():
    one, other = (nnlint.check(setup(), deep=True).results[0].measurements for _ in range(2))
    assert {name: one[name] for name in PROBES} == {name: other[name] for name in PROBES}


def test_progress_is_reported_with_counts():
    seen = []
    plan = Plan(probes=("overfit",), on_step=lambda *step: seen.append(step))
    asked("overfit", mlp(), plan=plan).evidence("OverfitRun")
    assert seen
    assert all(name == "overfit" and 0 < done <= planned for name, done, planned in seen)
    assert [done for _, done, _ in seen] == list(range(1, len(seen) + 1))


def test_a_model_that_takes_no_smaller_batch_is_overfitted_on_the_whole():
    class Fragile(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def forward(self, x):
            if len(x) < 32:
                raise RuntimeError("needs the whole batch")
            return self.net(x)

    assert asked("overfit", Fragile()).evidence("OverfitRun").samples == 32


def test_a_resnet_gets_less_than_150_steps():
    fewest = [overfit._EFFORT[1], lr_range._EFFORT[1], 2 * input_dependence._EFFORT[1]]
    assert sum(fewest) + lr_range._PATIENCE + 6 <= 150
