"""The training pass against closed forms and against plain torch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nnlint.guard.state_guard import StateGuard
from nnlint.probes.training_pass.reruns import find_non_finite
from nnlint.probes.training_pass.run import TrainingPass, run_training_pass
from nnlint.setup.training_setup import TrainingSetup


def _pass(model: nn.Module, inputs: object, targets: object = None, loss: object = None) -> TrainingPass:
    setup = TrainingSetup(model=model, inputs=inputs, targets=targets, loss=loss)
    with StateGuard.capture(setup):
        return run_training_pass(setup, seed=0)


def _mlp(depth: int, width: int, gain: float) -> nn.Sequential:
    generator = torch.Generator().manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(width, width, bias=False)
        with torch.no_grad():
            linear.weight.normal_(0.0, gain / math.sqrt(width), generator=generator)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers)


def test_he_initialization_keeps_the_scale_through_depth() -> None:
    # He et al. 2015 (arXiv:1502.01852): Var(pre-activation) is constant at gain sqrt(2); each half the gain halves the rms.
    inputs = torch.randn(256, 256, generator=torch.Generator().manual_seed(1))
    made = _pass(_mlp(20, 256, math.sqrt(2.0)), inputs)
    assert made.forward is not None
    rms = [layer.rms for layer in made.forward.linear_maps()]
    assert rms[0] == pytest.approx(math.sqrt(2.0), rel=0.05)
    assert (rms[-1] / rms[0]) ** (1 / 19) == pytest.approx(1.0, abs=0.05)


def test_xavier_like_gain_decays_by_the_square_root_of_two_per_relu_layer() -> None:
    inputs = torch.randn(256, 256, generator=torch.Generator().manual_seed(1))
    made = _pass(_mlp(20, 256, 1.0), inputs)
    assert made.forward is not None
    rms = [layer.rms for layer in made.forward.linear_maps()]
    assert (rms[-1] / rms[0]) ** (1 / 19) == pytest.approx(1 / math.sqrt(2.0), abs=0.05)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_zero_logits_lose_ln_c(classes: int) -> None:
    model = nn.Linear(8, classes)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    made = _pass(model, torch.randn(16, 8), torch.arange(16) % classes, nn.CrossEntropyLoss())
    assert made.forward is not None
    assert made.forward.loss == pytest.approx(math.log(classes), rel=1e-5)


def test_statistics_are_those_of_the_tensors() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8 * 36, 4))
    inputs, targets = torch.randn(16, 3, 8, 8), torch.arange(16) % 4
    made = _pass(model, inputs, targets, nn.CrossEntropyLoss())
    assert made.forward is not None
    hidden = torch.conv2d(inputs, model[0].weight, model[0].bias).detach()
    conv, relu, linear = (layer for layer in made.forward.layers if layer.op.name in {"conv2d", "relu", "linear"})
    assert conv.mean == pytest.approx(float(hidden.mean()), rel=1e-3)
    assert conv.std == pytest.approx(float(hidden.std(unbiased=False)), rel=1e-4)
    assert relu.zeros == pytest.approx(float((hidden <= 0).float().mean()), abs=1e-6)
    assert relu.units == 8
    assert relu.never_active == int((hidden.clamp(min=0).amax(dim=(0, 2, 3)) <= 0).sum())
    assert linear.op.module_path == "3"


def test_gradients_are_those_of_autograd() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    inputs, targets = torch.randn(12, 6), torch.arange(12) % 3
    made = _pass(model, inputs, targets, nn.CrossEntropyLoss())
    assert made.backward is not None
    hidden = model[0](inputs)
    loss = nn.functional.cross_entropy(model[2](torch.tanh(hidden)), targets)
    weights, activation = torch.autograd.grad(loss, [model[0].weight, hidden])
    found = made.backward.parameter("0.weight")
    assert found is not None
    assert found.norm == pytest.approx(float(weights.norm()), rel=1e-4)
    assert made.backward.layers[0].norm == pytest.approx(float(activation.norm()), rel=1e-4)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_saturation_counts_the_flat_part() -> None:
    made = _pass(nn.Sequential(nn.Linear(4, 64), nn.Sigmoid()), torch.full((32, 4), 1000.0))
    assert made.forward is not None
    (sigmoid,) = (layer for layer in made.forward.layers if layer.op.name == "sigmoid")
    assert sigmoid.saturated is not None
    assert sigmoid.saturated > 0.95


def test_model_in_evaluation_mode_is_measured_in_training_mode_and_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4)).eval()
    before = model[2].running_mean.clone()
    made = _pass(model, torch.randn(8, 4))
    assert made.graph is not None
    assert all(op.training for op in made.graph.calls("dropout"))
    assert not model.training
    assert torch.equal(model[2].running_mean, before)


def test_first_non_finite_op_is_named() -> None:
    class LogOfNegative(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.log(-self.layer(x).abs() - 1.0)
            return (y * 2.0).sum(dim=1)

    setup = TrainingSetup(model=LogOfNegative(), inputs=torch.randn(8, 4))
    with StateGuard.capture(setup):
        culprit = find_non_finite(setup, seed=0)
    assert culprit is not None
    assert culprit.op.name == "log"
    assert culprit.what == "NaN"
    assert culprit.input_ranges[0][1] < -1.0


def test_infinite_attention_mask_is_no_fault() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mask = torch.triu(torch.full((x.shape[0], x.shape[0]), float("-inf")), diagonal=1)
            return torch.softmax(self.layer(x) @ x.T + mask, dim=-1)

    setup = TrainingSetup(model=Masked(), inputs=torch.randn(8, 4))
    with StateGuard.capture(setup):
        assert find_non_finite(setup, seed=0) is None


def test_failing_layer_and_its_input_are_named() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(100, 10))
    made = _pass(model, torch.randn(4, 3, 8, 8))
    (failure,) = made.failures
    assert failure.code == "RUN002"
    assert failure.module == "2"
    assert "2 (Linear), given (4, 288) float32" in failure.message
    assert "was given 288" in failure.fix


def test_in_place_fault_in_backward_is_explained() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.sigmoid(self.layer(x))
            y += 1.0
            return y

    made = _pass(InPlace(), torch.randn(8, 4), torch.zeros(8, 4), nn.MSELoss())
    (failure,) = made.failures
    assert failure.code == "RUN004"
    assert "in-place operation" in failure.fix
    assert made.forward is not None
