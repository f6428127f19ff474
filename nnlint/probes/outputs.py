"""Comparing outputs of two forwards, and cutting and changing batches: shared by the evaluation and independence probes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from nnlint.capture.bindings import tensor_leaves
from nnlint.finding import Skip
from nnlint.probes.causes import is_fatal, one_line
from nnlint.probes.guard_process import seed_everything
from nnlint.setup.training_setup import call

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup


def evaluate(setup: TrainingSetup, inputs: Any, *, seed: int) -> list[torch.Tensor]:
    """Floating outputs of one evaluation-mode forward without gradients; the caller holds the state guard.

    Raises:
        Skip: the model raises in evaluation mode.
    """
    setup.model.eval()
    seed_everything(seed)
    try:
        with torch.no_grad():
            output = call(setup.model, inputs)
    except BaseException as error:
        if is_fatal(error):
            raise
        raise Skip(f"the forward raised in evaluation mode: {one_line(error)}") from error
    return [tensor.detach() for _, tensor in tensor_leaves(output) if tensor.is_floating_point() and tensor.numel()]


def relative_difference(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """Largest absolute difference over the tensors, each divided by its own largest magnitude; inf for other shapes."""
    if len(one) != len(other) or any(a.shape != b.shape for a, b in zip(one, other, strict=True)):
        return float("inf")
    worst = 0.0
    for a, b in zip(one, other, strict=True):
        scale = float(torch.nan_to_num(torch.maximum(a.abs().max(), b.abs().max()), posinf=3.4e38).float())
        if scale > 0.0:
            worst = max(worst, float((a.float() - b.float()).nan_to_num(nan=0.0).abs().max()) / scale)
    return worst


def sample_count(setup: TrainingSetup) -> int:
    """The batch size: the first dimension of the targets, or of the inputs where there are none."""
    for value in (setup.targets, setup.inputs):
        for _, tensor in tensor_leaves(value):
            if tensor.dim():
                return int(tensor.shape[0])
    return 1


def batch_axis(tensor: torch.Tensor, samples: int) -> int | None:
    """The axis of the samples: the first of size `samples` among the first two (time-major data have it second)."""
    return next((axis for axis in range(min(2, tensor.dim())) if tensor.shape[axis] == samples), None)


def map_tensors(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """`value` with every tensor in its tuples, lists and dicts replaced."""
    return pytree.tree_map(lambda leaf: change(leaf) if isinstance(leaf, torch.Tensor) else leaf, value)


def first_samples(inputs: Any, samples: int, keep: int) -> Any:
    """The first `keep` samples of a batch; everything where a tensor has no batch axis."""
    if keep >= samples or any(
        batch_axis(tensor, samples) is None for _, tensor in tensor_leaves(inputs) if tensor.dim()
    ):
        return inputs
    return map_tensors(inputs, lambda t: t.narrow(axis, 0, keep) if (axis := _axis(t, samples)) is not None else t)


def _axis(tensor: torch.Tensor, samples: int) -> int | None:
    return batch_axis(tensor, samples) if tensor.dim() else None


def with_first_sample_replaced(inputs: Any, samples: int) -> Any:
    """The batch with its first sample overwritten by its last: real data in, nothing out of range."""

    def replace(tensor: torch.Tensor) -> torch.Tensor:
        axis = _axis(tensor, samples)
        if axis is None:
            return tensor
        changed = tensor.clone()
        changed.select(axis, 0).copy_(tensor.select(axis, samples - 1))
        return changed

    return map_tensors(inputs, replace)


def rolled(tensor: torch.Tensor, samples: int) -> torch.Tensor:
    """The tensor with its samples moved on by one."""
    axis = _axis(tensor, samples)
    return tensor if axis is None else tensor.roll(1, dims=axis)
