"""On which device the batch lies: beside the model, as a training loop puts it there."""

from __future__ import annotations

from contextlib import suppress

import torch

from nnlint.setup.inputs.fake_run import Trial
from nnlint.setup.training_setup import TrainingSetup
from nnlint.tensors import map_tensors, move, tensors_in

#: What torch says of lengths beside packed sequences, which it wants on the CPU.
_ON_CPU = "1D CPU int64"


def beside_model(setup: TrainingSetup) -> TrainingSetup:
    """A batch that is all on the CPU goes to the device of the model, as the training loop moves what the loader gives.

    One that lies on several devices is placed as the model needs it.
    """
    device = next((parameter.device for parameter in setup.model.parameters()), torch.device("cpu"))
    batch = (setup.inputs, setup.targets)
    if device.type in ("cpu", "meta") or any(tensor.device.type != "cpu" for tensor in tensors_in(batch)):
        return setup
    text = f"the batch is moved to {device}, where the model is"
    return packable(
        setup.with_assumption(text, inputs=move(setup.inputs, device), targets=move(setup.targets, device))
    )


def packable(setup: TrainingSetup) -> TrainingSetup:
    """A setup that was moved to a device, with lengths on the CPU where the packed sequences of the model want them there."""
    on_device = [tensor for tensor in tensors_in(setup.inputs) if tensor.device.type != "cpu"]
    if not any(map(_may_be_lengths, on_device)):
        return setup
    with suppress(Exception):  # a model that cannot be copied is not tried
        outcome = Trial(setup.model).run_for_real(setup.inputs)
        if outcome is not None and _ON_CPU in str(outcome.error):
            inputs = map_tensors(lambda one: one.cpu() if _may_be_lengths(one) else one, setup.inputs)
            return setup.model_copy(update={"inputs": inputs})
    return setup


def _may_be_lengths(tensor: torch.Tensor) -> bool:
    return tensor.dim() == 1 and tensor.dtype is torch.int64
