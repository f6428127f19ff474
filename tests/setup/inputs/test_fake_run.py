"""Trials of inputs: on the meta device, on fake tensors, and for real."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nnlint.setup.inputs.fake_run import Trial


class Positions(nn.Module):
    """Adds positions, made on the device of the input or on the CPU."""

    def __init__(self, *, on_cpu: bool) -> None:
        super().__init__()
        self.device = torch.device("cpu") if on_cpu else None
        self.embed = nn.Embedding(20, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=self.device or tokens.device)
        return self.head(self.embed(tokens) + places[:, None] * self.head.weight.mean())


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("on_cpu", [True, False])
def test_the_output_of_a_trial_has_the_shape_of_the_real_one(device: str, *, on_cpu: bool) -> None:
    model = Positions(on_cpu=on_cpu).to(device)
    outcome = Trial(model).run(torch.randint(0, 20, (4, 6)))
    assert outcome.succeeded, outcome.reason
    assert outcome.output.shape == (4, 6, 3)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_the_model_refuses_is_said(device: str) -> None:
    outcome = Trial(nn.Linear(5, 2).to(device)).run(torch.zeros(4, 6))
    assert not outcome.succeeded
    assert "5" in outcome.reason


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_mode_of_a_trial_is_the_copys_alone(device: str) -> None:
    class Modal(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if self.training else x

    model = Modal(5, 2).to(device).eval()
    trial = Trial(model)
    assert trial.run(torch.zeros(4, 5)).output.shape == (4, 2)
    trial.set_training(training=False)
    assert trial.run(torch.zeros(4, 5)).output.shape == (4, 5)
    assert not model.training


def test_a_loss_takes_what_a_trial_on_the_meta_device_gave() -> None:
    trial = Trial(nn.Linear(5, 2, device="meta"))
    output = trial.run(torch.zeros(4, 5)).output
    assert trial.loss(nn.CrossEntropyLoss(), output, torch.zeros(4, dtype=torch.long)).succeeded
    assert not trial.loss(nn.MSELoss(), output, torch.zeros(4, 7)).succeeded
