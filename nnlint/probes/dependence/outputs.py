"""Running a model on one batch and another, and comparing the outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from nnlint.capture.torch_private import is_wrapper
from nnlint.dense import stored
from nnlint.finding import Skip
from nnlint.frames import is_fatal
from nnlint.probes.torch_errors import one_line
from nnlint.seeding import seed_everything
from nnlint.setup.training_setup import call
from nnlint.tensors import is_dense, tensors_in

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup


def evaluate(setup: TrainingSetup, inputs: Any, *, seed: int) -> list[torch.Tensor]:
    """Floating outputs of one evaluation-mode forward without gradients; the caller holds the state guard.

    Raises:
        Skip: the model raises in evaluation mode.
    """
    setup.model.eval()
    with torch.no_grad():
        return [tensor.detach() for tensor in forward(setup, inputs, seed=seed, mode="evaluation")]


def forward(setup: TrainingSetup, inputs: Any, *, seed: int, mode: str) -> list[torch.Tensor]:
    """Floating outputs of one forward in whatever mode the model is in.

    Raises:
        Skip: the model raises.
    """
    seed_everything(seed)
    try:
        output = call(setup.model, inputs)
    except BaseException as error:
        if is_fatal(error):
            raise
        raise Skip(f"the forward raised in {mode} mode: {one_line(error)}") from error
    numbers = [
        tensor if is_dense(tensor) and not is_wrapper(tensor) else stored(tensor) for tensor in tensors_in(output)
    ]
    return [tensor for tensor in numbers if tensor is not None and tensor.is_floating_point() and tensor.numel()]


def relative_difference(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """Largest absolute difference over the tensors, each divided by its own largest magnitude; inf for other shapes.

    Entries that are not finite in both (an attention mask of -inf that reaches the output) are left out.
    """
    if len(one) != len(other) or any(a.shape != b.shape for a, b in zip(one, other, strict=True)):
        return float("inf")
    return max((_difference(a, b) for a, b in zip(one, other, strict=True)), default=0.0)


def _difference(a: torch.Tensor, b: torch.Tensor) -> float:
    if not a.numel():
        return 0.0
    if not torch.equal(a.isfinite(), b.isfinite()):
        return float("inf")
    a, b = zeroed(a), zeroed(b)
    scale = float(torch.maximum(a.abs().max(), b.abs().max()))
    return float((a - b).abs().max()) / scale if scale > 0.0 else 0.0


def zeroed(tensor: torch.Tensor) -> torch.Tensor:
    """The values in at least single precision, with 0 for NaN and Inf."""
    wide = tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
    return torch.nan_to_num(wide, nan=0.0, posinf=0.0, neginf=0.0)


def spread(outputs: list[torch.Tensor], samples: int) -> float | None:
    """Largest difference between samples over the outputs, relative to their largest magnitude; None without a batch axis."""
    batched = [zeroed(tensor) for tensor in outputs if tensor.dim() and tensor.shape[0] == samples]
    if not batched or samples < 2:
        return None
    return relative_difference([tensor[:1].expand_as(tensor) for tensor in batched], batched)


def other_samples(
    one: list[torch.Tensor], other: list[torch.Tensor] | None, *, samples: int
) -> tuple[list[torch.Tensor], list[torch.Tensor]] | None:
    """All samples but the first of the outputs of two forwards; None without outputs that have the batch as first axis."""
    pairs = [
        (a[1:], b[1:])
        for a, b in zip(one, other or (), strict=False)
        if a.dim() and a.shape[0] == samples and a.shape == b.shape
    ]
    return ([a for a, _ in pairs], [b for _, b in pairs]) if pairs else None
