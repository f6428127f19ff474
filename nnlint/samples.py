"""The axis of the samples: which axis of a batch holds them, how many there are, the first few of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from nnlint.tensors import holds_list, is_dense, map_tensors, shape_of, tensor_leaves, tensors_in
from nnlint.time_axis import told_time

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup


@dataclass(frozen=True)
class BatchLayout:
    """How many samples a batch holds, and how sure that is.

    Attributes:
        samples: their number; 1 where no axis of samples was found.
        settled: whether more than the position of the axis speaks for it; otherwise (time, batch, ...) data would look
            just the same.
        axis: the axis of the samples in the first input: 1 for time-major data.
    """

    samples: int
    settled: bool
    axis: int = 0

    def axis_in(self, tensor: torch.Tensor) -> int | None:
        """The axis of the samples in a value of the forward; time-major values may have lost the axis of the time."""
        if self.axis:
            return batch_axis(tensor, self.samples)
        return 0 if tensor.dim() and shape_of(tensor)[0] == self.samples else None


def batch_layout(setup: TrainingSetup) -> BatchLayout:
    """Find the axis of the samples: from the loader's batch size, the targets, the inputs among themselves, then their values.

    Found once for a setup: reading the values costs a look at every number of the batch.
    """
    return setup.batch_layout(_layout)


def _layout(setup: TrainingSetup) -> BatchLayout:
    found = _layout_by_shapes(setup)
    return found if found.settled else _layout_by_values(setup) or found


def _layout_by_values(setup: TrainingSetup) -> BatchLayout | None:
    """Where the values of the sequences tell which axis is time; None where they do not."""
    if setup.inputs_assumed:
        return None
    targets = () if setup.targets_assumed else tensors_in(setup.targets)
    told = told_time(tensors_in(setup.inputs), targets)
    first = next((shape for tensor in tensors_in(setup.inputs) if len(shape := shape_of(tensor))), ())
    if told is None or told[1] not in first[:2]:
        return None
    time, samples = told
    if first[:1] == first[1:2]:
        # Elsewhere an axis of samples is found by its size: first of all the leading one.
        return BatchLayout(samples, settled=True) if time == 1 else None
    return BatchLayout(samples, settled=True, axis=first.index(samples))


def _layout_by_shapes(setup: TrainingSetup) -> BatchLayout:
    shapes = [shape_of(tensor) for tensor in tensors_in(setup.inputs) if tensor.dim()]
    if not shapes or holds_list(setup.inputs):
        return BatchLayout(1, settled=True)
    first = shapes[0]
    if "time-major" in setup.declared and len(first) > 1:
        return BatchLayout(first[1], settled=True, axis=1)
    for count, settled in (*_of_loader(setup, first), *_of_targets(setup, first)):
        if count in first[:2]:
            return BatchLayout(count, settled, axis=first.index(count))
    if len({shape[0] for shape in shapes}) > 1 and len({shape[1:2] for shape in shapes}) == 1 and len(first) > 1:
        # A source and a target sequence of different lengths, time first.
        return BatchLayout(first[1], settled=True, axis=1)
    return BatchLayout(first[0], settled=False)


def _of_loader(setup: TrainingSetup, first: tuple[int, ...]) -> Iterator[tuple[int, bool]]:
    size = getattr(setup.data, "batch_size", None)
    if isinstance(size, int):
        yield size, len(first) < 2 or first[0] != first[1]


def _of_targets(setup: TrainingSetup, first: tuple[int, ...]) -> Iterator[tuple[int, bool]]:
    for _, target in tensor_leaves(setup.targets):
        if target.dim():
            shape = shape_of(target)
            # Targets with both leading axes of the inputs would have them in the other order just as well.
            both = len(first) > 1 and len(shape) > 1 and shape[:2] == first[:2]
            yield shape[0], not (both or setup.targets_assumed or first[:1] == first[1:2] or may_be_series(setup))
            return


def may_be_series(setup: TrainingSetup) -> bool:
    """Whether the inputs are plain rows of numbers: a window of one series would look just like a batch of single numbers."""
    return all(tensor.dim() < 2 and tensor.is_floating_point() for tensor in tensors_in(setup.inputs))


def sample_count(setup: TrainingSetup) -> int:
    """The batch size; 1 where no axis of samples was found."""
    return batch_layout(setup).samples


def given_samples(setup: TrainingSetup) -> int:
    """How many samples are given, in an axis or one by one in a list (images of several sizes); 0 where no tensor tells."""
    if holds_list(setup.inputs):
        return _first_length(setup.inputs)
    return sample_count(setup) if next(tensors_in(setup.inputs), None) is not None else 0


def _first_length(inputs: Any) -> int:
    """Length of what comes first: a list of tensors or dicts, or a tensor."""
    if isinstance(inputs, torch.Tensor):
        return shape_of(inputs)[0] if inputs.dim() else 1
    if isinstance(inputs, list) and inputs and isinstance(inputs[0], (torch.Tensor, Mapping)):
        return len(inputs)
    children = inputs.values() if isinstance(inputs, Mapping) else inputs if isinstance(inputs, (tuple, list)) else ()
    return next((found for found in map(_first_length, children) if found), 0)


def batch_axis(tensor: torch.Tensor, samples: int) -> int | None:
    """The axis of the samples: the first of size `samples` among the first two (time-major data have it second)."""
    if not is_dense(tensor):
        return None
    return next((axis for axis in range(min(2, tensor.dim())) if tensor.shape[axis] == samples), None)


def are_nodes(inputs: Any, samples: int) -> bool:
    """Whether the inputs are a graph: an index of edges, or an adjacency matrix, tells which samples are neighbours."""
    tensors = [tensor for _, tensor in tensor_leaves(inputs)]
    return len(tensors) > 1 and any(_is_of_edges(tensor, samples) for tensor in tensors)


def _is_edge_index(tensor: torch.Tensor, samples: int) -> bool:
    return not tensor.is_floating_point() and tensor.dim() == 2 and tensor.shape[0] == 2 != samples


def _are_offsets(tensor: torch.Tensor) -> bool:
    """Whether these are the places where the samples begin in a longer list: they rise from zero, by more than one on average."""
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dim() != 1 or len(tensor) < 2:
        return False
    return bool(tensor[0] == 0 and (tensor.diff() >= 0).all() and tensor[-1] > len(tensor) - 1)


def _is_of_edges(tensor: torch.Tensor, samples: int) -> bool:
    if tensor.layout is not torch.strided:
        return True
    if tensor.dim() != 2 or tensor.is_nested:
        return False
    if _is_edge_index(tensor, samples):
        return True
    # Neighbours are mutual, or a few of all: a table with as many columns as samples is neither.
    if tuple(tensor.shape) != (samples, samples) or torch.equal(tensor, tensor.t()):
        return tuple(tensor.shape) == (samples, samples)
    few = tensor.is_floating_point() or len(tensor.unique()) <= 3  # as many words as samples, padded with 0, are ids
    return few and bool((tensor >= 0).all() and (tensor == 0).any())


def first_samples(inputs: Any, samples: int, keep: int) -> Any:
    """The first `keep` samples of a batch; everything where a tensor has no batch axis, or the samples are nodes of a graph."""
    if keep >= samples or are_nodes(inputs, samples):
        return inputs
    if any(batch_axis(tensor, samples) is None for _, tensor in tensor_leaves(inputs) if tensor.dim()):
        return inputs
    return map_tensors(lambda t: t.narrow(axis, 0, keep) if (axis := batch_axis(t, samples)) is not None else t, inputs)


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

    return map_tensors(replace, inputs)


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

    Of a list of edges only one row is moved: the edges in another order are the same graph. Offsets say where the samples
    begin and stay as they are, and so does a sparse matrix (a graph).
    """
    if tensor.is_nested:
        parts = tensor.unbind()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that nested tensors are a prototype is no news to who gave one
            return torch.nested.as_nested_tensor([*parts[-1:], *parts[:-1]], layout=tensor.layout)
    if tensor.layout is not torch.strided or _are_offsets(tensor):
        return tensor
    if _is_edge_index(tensor, samples):
        return torch.stack([tensor[0].roll(1), tensor[1]])
    axis = batch_axis(tensor, samples)
    moved = tensor if axis is None else tensor.roll(1, dims=axis)
    return tensor.roll(1, dims=-1) if tensor.dim() and torch.equal(moved, tensor) else moved
