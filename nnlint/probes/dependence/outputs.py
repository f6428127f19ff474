"""Comparing outputs of two forwards, and finding, cutting and changing the samples of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from nnlint.capture.bindings import tensor_leaves
from nnlint.finding import Skip
from nnlint.guard.process import seed_everything
from nnlint.probes.torch_errors import is_fatal, one_line
from nnlint.setup.training_setup import call

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup

# -------------------------------------------------------------------- running and comparing


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
    return [tensor for _, tensor in tensor_leaves(output) if tensor.is_floating_point() and tensor.numel()]


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


# -------------------------------------------------------------------- the samples of a batch


@dataclass(frozen=True)
class BatchLayout:
    """How many samples a batch holds, and how sure that is.

    Attributes:
        samples: their number; 1 where no axis of samples was found.
        settled: whether more than the position of the axis speaks for it; otherwise (time, batch, ...) data would look
            just the same.
    """

    samples: int
    settled: bool


def batch_layout(setup: TrainingSetup) -> BatchLayout:
    """Find the axis of the samples: from the loader's batch size, the targets, then the inputs among themselves."""
    shapes = [tuple(tensor.shape) for _, tensor in tensor_leaves(setup.inputs) if tensor.dim()]
    if not shapes or _holds_list(setup.inputs):
        return BatchLayout(1, settled=True)
    first = shapes[0]
    if "time-major" in setup.declared and len(first) > 1:
        return BatchLayout(first[1], settled=True)
    for count, settled in (*_of_loader(setup, first), *_of_targets(setup, first)):
        if count in first[:2]:
            return BatchLayout(count, settled)
    if len({shape[0] for shape in shapes}) > 1 and len({shape[1:2] for shape in shapes}) == 1 and len(first) > 1:
        return BatchLayout(first[1], settled=True)  # a source and a target sequence of different lengths, time first
    return BatchLayout(first[0], settled=False)


def _holds_list(inputs: Any) -> bool:
    """Whether samples of different sizes are given as a list of tensors (torchvision's detectors)."""
    found = False

    def is_list(value: Any) -> bool:
        nonlocal found
        found = found or (isinstance(value, list) and any(isinstance(item, torch.Tensor) for item in value))
        return False

    pytree.tree_flatten(inputs, is_leaf=is_list)
    return found


def _of_loader(setup: TrainingSetup, first: tuple[int, ...]) -> Iterator[tuple[int, bool]]:
    size = getattr(setup.data, "batch_size", None)
    if isinstance(size, int):
        yield size, len(first) < 2 or first[0] != first[1]


def _of_targets(setup: TrainingSetup, first: tuple[int, ...]) -> Iterator[tuple[int, bool]]:
    for _, target in tensor_leaves(setup.targets):
        if target.dim():
            shape = tuple(target.shape)
            # Targets with both leading axes of the inputs would have them in the other order just as well.
            both = len(first) > 1 and len(shape) > 1 and shape[:2] == first[:2]
            yield shape[0], not (both or setup.targets_assumed or first[:1] == first[1:2])
            return


def sample_count(setup: TrainingSetup) -> int:
    """The batch size; 1 where no axis of samples was found."""
    return batch_layout(setup).samples


def batch_axis(tensor: torch.Tensor, samples: int) -> int | None:
    """The axis of the samples: the first of size `samples` among the first two (time-major data have it second)."""
    return next((axis for axis in range(min(2, tensor.dim())) if tensor.shape[axis] == samples), None)


def are_nodes(inputs: Any, samples: int) -> bool:
    """Whether the inputs are a graph: an index of edges, or an adjacency matrix, tells which samples are neighbours."""
    tensors = [tensor for _, tensor in tensor_leaves(inputs)]
    return len(tensors) > 1 and any(_is_of_edges(tensor, samples) for tensor in tensors)


def _is_edge_index(tensor: torch.Tensor, samples: int) -> bool:
    return not tensor.is_floating_point() and tensor.dim() == 2 and tensor.shape[0] == 2 != samples


def _is_of_edges(tensor: torch.Tensor, samples: int) -> bool:
    if tensor.layout is not torch.strided:
        return True
    if tensor.dim() != 2:
        return False
    if _is_edge_index(tensor, samples):
        return True
    # Neighbours are mutual, or a few of all: a table with as many columns as samples is neither.
    square = tuple(tensor.shape) == (samples, samples)
    return square and (torch.equal(tensor, tensor.t()) or bool((tensor >= 0).all() and (tensor == 0).any()))


def map_tensors(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """`value` with every tensor in its tuples, lists and dicts replaced."""
    return pytree.tree_map(lambda leaf: change(leaf) if isinstance(leaf, torch.Tensor) else leaf, value)


def first_samples(inputs: Any, samples: int, keep: int) -> Any:
    """The first `keep` samples of a batch; everything where a tensor has no batch axis, or the samples are nodes of a graph."""
    if keep >= samples or are_nodes(inputs, samples):
        return inputs
    if any(batch_axis(tensor, samples) is None for _, tensor in tensor_leaves(inputs) if tensor.dim()):
        return inputs
    return map_tensors(inputs, lambda t: t.narrow(axis, 0, keep) if (axis := batch_axis(t, samples)) is not None else t)


def with_first_sample_replaced(inputs: Any, samples: int, *, axis: int | None = None) -> Any:
    """The batch with its first sample overwritten by the last that differs from it: real data in, nothing out of range.

    Args:
        inputs: the batch.
        samples: its size.
        axis: an axis to take for that of the samples, whatever its size; found by the size where None.

    Returns:
        The changed batch; None where all samples are equal.
    """
    other = _other_sample(inputs, samples, axis)
    if other is None:
        return None

    def replace(tensor: torch.Tensor) -> torch.Tensor:
        along = _axis(tensor, samples, axis)
        if along is None or other >= tensor.shape[along]:
            return tensor
        changed = tensor.clone()
        changed.select(along, 0).copy_(tensor.select(along, other))
        return changed

    return map_tensors(inputs, replace)


def _other_sample(inputs: Any, samples: int, axis: int | None) -> int | None:
    """The last sample that differs from the first in any tensor."""
    found: int | None = None
    for _, tensor in tensor_leaves(inputs):
        along = _axis(tensor, samples, axis)
        if along is None or tensor.is_sparse or tensor.is_nested:
            continue
        rows = tensor.movedim(along, 0).reshape(tensor.shape[along], -1)
        differing = (rows != rows[:1]).any(dim=1).nonzero()
        if len(differing):
            found = max(found or 0, int(differing[-1]))
    return found


def _axis(tensor: torch.Tensor, samples: int, axis: int | None) -> int | None:
    if axis is not None:
        return axis if tensor.dim() > axis else None
    return batch_axis(tensor, samples)


def rolled(tensor: torch.Tensor, samples: int) -> torch.Tensor:
    """The tensor with its samples moved on by one; without a batch axis, or where they are equal, its last axis instead.

    Of a list of edges only one row is moved: the edges in another order are the same graph.
    """
    if _is_edge_index(tensor, samples):
        return torch.stack([tensor[0].roll(1), tensor[1]])
    axis = batch_axis(tensor, samples)
    moved = tensor if axis is None else tensor.roll(1, dims=axis)
    return tensor.roll(1, dims=-1) if tensor.dim() and torch.equal(moved, tensor) else moved
