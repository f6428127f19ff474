"""Running a model on one batch and another, and comparing the outputs."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch

from nnlint.capture.torch_private import is_wrapper
from nnlint.dense import stored
from nnlint.finding import Skip
from nnlint.probes.longer.forward_loss import needs_gradients
from nnlint.probes.torch_errors import during
from nnlint.seeding import seed_everything
from nnlint.setup.training_setup import call
from nnlint.tensors import is_dense, tensors_in

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup

#: How to see outside nnlint what a forward in evaluation mode raises.
_IN_EVALUATION = "call model.eval() and run the model on this batch: validation raises there too"


def evaluate(setup: TrainingSetup, inputs: Any, *, seed: int) -> list[torch.Tensor]:
    """Floating outputs of one evaluation-mode forward without gradients; the caller holds the state guard.

    An exception of the model passes. A forward that takes its targets in training only is called without them.

    Raises:
        Skip: the forward differentiates itself (forces from an energy, a gradient penalty): it is no forward without gradients.
    """
    setup.model.eval()
    try:
        with during("the forward in evaluation mode", _IN_EVALUATION), torch.no_grad():
            return [tensor.detach() for tensor in _without_targets(setup, inputs, seed=seed)]
    except RuntimeError as error:
        if needs_gradients(error):
            raise Skip("the forward calls autograd itself: it cannot run without gradients") from error
        raise


def _without_targets(setup: TrainingSetup, inputs: Any, *, seed: int) -> list[torch.Tensor]:
    """Outputs for the inputs; where their form is refused, for the first of them alone: detectors take targets in training only."""
    try:
        return forward(setup, inputs, seed=seed)
    except (TypeError, AssertionError, AttributeError, ValueError):
        parts = inputs[0] if isinstance(inputs, tuple) and len(inputs) == 1 else inputs
        if not isinstance(parts, (tuple, list)) or len(parts) < 2 or not isinstance(parts[0], torch.Tensor):
            raise
        with suppress(Exception):
            return forward(setup, (parts[0],), seed=seed)
        raise


def forward(setup: TrainingSetup, inputs: Any, *, seed: int) -> list[torch.Tensor]:
    """Floating outputs of one forward in whatever mode the model is in; an exception of the model passes."""
    seed_everything(seed)
    output = call(setup.model, inputs)
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
