"""Running a model on its batch with other padding: cut off, or filled with valid content, and how much the outputs change."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from nnlint.finding import Skip
from nnlint.probes.dependence.outputs import zeroed
from nnlint.probes.dependence.padded import Leaf, PaddedSequence
from nnlint.samples import batch_axis
from nnlint.tensors import map_tensors

#: Samples that are compared.
_SAMPLES = 4
_NOT_NESTED = "the inputs are not made of tuples, lists and dicts of tensors"
#: Outputs whose samples differ by less, relative to their largest value, are the same for all.
_CONSTANT = 1e-6
#: Steps of convolutions and poolings over time, all together, up to which an axis is recognized.
_LARGEST_STEP = 9
#: Shorter axes are no sequences.
_LEAST_SIZE = 4


def replace_leaves(inputs: Any, leaves: Sequence[Leaf], changed: Mapping[int, Tensor]) -> Any:
    """The inputs with some of their tensors replaced, by their place among all.

    Raises:
        Skip: the inputs are not made of tuples, lists and dicts.
    """
    waiting = iter(leaves)

    def replaced(tensor: Tensor) -> Tensor:
        leaf = next(waiting, None)
        if leaf is None or leaf.tensor is not tensor:
            raise Skip(_NOT_NESTED)
        return changed.get(leaf.index, tensor)

    made = map_tensors(replaced, inputs)
    if next(waiting, None) is not None:
        raise Skip(_NOT_NESTED)
    return made


@dataclass(frozen=True, eq=False)
class Chosen:
    """A few samples of a batch, those with the most padding.

    Attributes:
        inputs: the batch with these samples alone.
        leaves: its tensors.
        sequences: its padded sequences.
        samples: how many there are, two at least.
        axes: for each leaf its batch axis.
        unpacked: length of the longest of them -> that of the longest of the whole batch, for each padded sequence.
    """

    inputs: Any = field(repr=False)
    leaves: tuple[Leaf, ...]
    sequences: tuple[PaddedSequence, ...]
    samples: int
    axes: Mapping[int, int | None]
    unpacked: Mapping[int, int]

    @property
    def valid(self) -> dict[int, Tensor]:
        """For each length of a padded time axis where there is content: (samples, time)."""
        found: dict[int, Tensor] = {}
        for sequence in self.sequences:
            found[sequence.length] = found.get(sequence.length, sequence.valid) & sequence.valid
        return found


def most_padded(inputs: Any, leaves: Sequence[Leaf], sequences: Sequence[PaddedSequence], samples: int) -> Chosen:
    """The samples with the most padding, each with some content; one alone is taken twice."""
    shares = torch.stack([sequence.valid.double().mean(1) for sequence in sequences])
    order = shares.amax(0).argsort(stable=True)
    index = order[:_SAMPLES]
    if len(index) == 1:
        index = index.repeat(2)
    return take_samples(inputs, leaves, sequences, samples, index)


def take_samples(
    inputs: Any, leaves: Sequence[Leaf], sequences: Sequence[PaddedSequence], samples: int, index: Tensor
) -> Chosen:
    """Some samples of a batch, by their numbers."""
    known = {sequence.leaf.index: sequence.batch_axis for sequence in sequences}
    axes = {leaf.index: known.get(leaf.index, batch_axis(leaf.tensor, samples)) for leaf in leaves}

    def taken(leaf: Leaf) -> Tensor:
        axis = axes[leaf.index]
        return leaf.tensor if axis is None else leaf.tensor.index_select(axis, index.to(leaf.tensor.device))

    cut = tuple(Leaf(leaf.name, leaf.index, taken(leaf)) for leaf in leaves)
    made = replace_leaves(inputs, leaves, {leaf.index: leaf.tensor for leaf in cut})
    by_index = {leaf.index: leaf for leaf in cut}
    rows = tuple(
        PaddedSequence(
            by_index[item.leaf.index], item.batch_axis, item.time_axis, item.valid[index], item.at_start, item.known_by
        )
        for item in sequences
    )
    longest = {int(item.lengths[index].max()): int(item.lengths.max()) for item in sequences if not item.at_start}
    return Chosen(made, cut, rows, len(index), axes, longest)


# -------------------------------------------------------------------- less padding


@dataclass(frozen=True, eq=False)
class Trimmed:
    """The chosen samples with padding cut off.

    Attributes:
        inputs: the batch.
        sizes: length of a time axis before -> after, and whether its start was cut.
        unpacked: as in `Chosen`, cut like the axes.
    """

    inputs: Any = field(repr=False)
    sizes: Mapping[int, tuple[int, bool]]
    unpacked: Mapping[int, int]


def trimmed(chosen: Chosen, *, only: PaddedSequence | None = None, margin: int = 0) -> Trimmed | None:
    """Cut the padded sequences to the longest of the chosen samples; None where nothing can be cut.

    Args:
        chosen: the samples.
        only: one of their sequences, to cut no axis but those of its length.
        margin: padded positions to leave.
    """
    sizes: dict[int, tuple[int, bool]] = {}
    for length in chosen.valid if only is None else (only.length,):
        same = [item for item in chosen.sequences if item.length == length]
        needed = max(int(item.lengths.max()) for item in same) + margin
        sides = {item.at_start for item in same}
        if needed < length and len(sides) == 1 and not _other_content(chosen, length):
            sizes[length] = (needed, sides.pop())
    if not sizes:
        return None
    own = {item.leaf.index: item.time_axis for item in chosen.sequences}
    changed = {leaf.index: _cut(leaf, own.get(leaf.index), chosen.axes[leaf.index], sizes) for leaf in chosen.leaves}
    unpacked = dict(chosen.unpacked)
    for item in chosen.sequences:
        longest = int(item.lengths.max())
        if item.length in sizes and longest in unpacked:
            unpacked[longest] = min(unpacked[longest], sizes[item.length][0])
    return Trimmed(replace_leaves(chosen.inputs, chosen.leaves, changed), sizes, unpacked)


def _other_content(chosen: Chosen, length: int) -> bool:
    """Whether another tensor of content, without padding, has an axis of this length after the samples."""
    padded = {item.leaf.index for item in chosen.sequences}
    return any(
        leaf.tensor.dim() in (2, 3)
        and leaf.tensor.shape[1] == length
        and leaf.index not in padded
        and not any(word in leaf.name.lower() for word in ("mask", "label", "position", "segment", "type"))
        and leaf.tensor.dtype is not torch.bool
        and chosen.axes[leaf.index] == 0
        and len(leaf.tensor.unique()) > 2
        for leaf in chosen.leaves
    )


def _cut(leaf: Leaf, time: int | None, batch: int | None, sizes: Mapping[int, tuple[int, bool]]) -> Tensor:
    tensor = leaf.tensor
    axes = range(tensor.dim()) if time is None else (time,)
    for axis in axes:
        size = sizes.get(tensor.shape[axis])
        if axis != batch and size is not None:
            start = tensor.shape[axis] - size[0] if size[1] else 0
            tensor = tensor.narrow(axis, start, size[0])
    return tensor.contiguous()


# -------------------------------------------------------------------- other content in the padding


def refilled(chosen: Chosen, sequence: PaddedSequence, *, margin: int = 0) -> Any:
    """The chosen samples with the padding of one sequence overwritten by each sample's own content, over and over.

    Args:
        chosen: the samples.
        sequence: one of theirs.
        margin: positions of the padding next to the content that stay as they are.
    """
    tensor = sequence.leaf.tensor
    rows = tensor.movedim((sequence.batch_axis, sequence.time_axis), (0, 1)).clone()
    positions = torch.arange(sequence.length)
    for sample, valid in enumerate(sequence.valid):
        content = positions[valid]
        filled = positions[~valid]
        filled = filled[: len(filled) - margin] if sequence.at_start else filled[margin:]
        if len(filled):
            source = content[torch.arange(len(filled)) % len(content)]
            rows[sample, filled.to(rows.device)] = rows[sample, source.to(rows.device)]
    changed = rows.movedim((0, 1), (sequence.batch_axis, sequence.time_axis)).contiguous()
    return replace_leaves(chosen.inputs, chosen.leaves, {sequence.leaf.index: changed})


class Comparisons(TorchFunctionMode):
    """Keeps the results of comparisons of one forward and gives the same ones to the next.

    A mask that the model makes from its input (`ids != 0`) stays what it was when other content is put into the padding.
    Each `begin` starts a forward; all after the first replay.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[Tensor] = []
        self._forward = 0
        self._position = 0
        self._paused = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Calls made inside are not the model's: neither kept nor replayed."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def begin(self) -> None:
        """A new forward starts."""
        self._forward += 1
        self._position = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the call; keep or replay what it says where it says yes or no."""
        result = func(*args, **(kwargs or {}))
        if self._paused or not isinstance(result, Tensor) or not _says_yes_or_no(func, args, result):
            return result
        if self._forward <= 1:
            self._kept.append(result.clone())
            return result
        kept = self._kept[self._position] if self._position < len(self._kept) else None
        self._position += 1
        return kept.clone() if kept is not None and kept.shape == result.shape else result


def _says_yes_or_no(func: Any, args: tuple[Any, ...], result: Tensor) -> bool:
    name = getattr(func, "__name__", "")
    if name in ("sign", "count_nonzero"):
        return not any(isinstance(arg, Tensor) and arg.requires_grad for arg in args)
    # A view or a copy of flags compares nothing.
    return result.dtype is torch.bool and any(isinstance(arg, Tensor) and arg.dtype is not torch.bool for arg in args)


# -------------------------------------------------------------------- how much outputs change


def change(
    before: Sequence[Tensor],
    after: Sequence[Tensor],
    chosen: Chosen,
    sizes: Mapping[int, tuple[int, bool]] | None = None,
) -> float | None:
    """How much the outputs at valid positions change, relative to what tells samples and positions apart.

    Args:
        before: outputs of one forward.
        after: outputs of the other.
        chosen: the samples they are of.
        sizes: time axes that are shorter in the second forward.

    Returns:
        The root mean square of the changes over that of the outputs' deviation from their mean, the worst tensor; None where
        no output can be compared.
    """
    found = [_change(a, b, chosen, sizes or {}) for a, b in zip(before, after, strict=False)]
    known = [value for value in found if value is not None]
    return max(known) if known and len(before) == len(after) else None


def _change(a: Tensor, b: Tensor, chosen: Chosen, sizes: Mapping[int, tuple[int, bool]]) -> float | None:
    axis = batch_axis(a, chosen.samples)
    if axis is None or a.dim() != b.dim() or b.shape[axis] != chosen.samples:
        return None
    a, b = zeroed(a), zeroed(b)
    weight = torch.ones([1] * a.dim(), dtype=torch.bool, device=a.device)
    counted = [axis]
    strided = a.dim() > 2 and not any(size in chosen.valid for place, size in enumerate(a.shape) if place != axis)
    for other in range(a.dim()):
        seen = _seen(a.shape[other], b.shape[other], chosen.valid, sizes, strided=strided) if other != axis else None
        if seen is None:
            if a.shape[other] != b.shape[other]:
                return None
            continue
        start, valid = seen
        a = a.narrow(other, start, valid.shape[1])
        b = b.narrow(other, max(0, min(start, b.shape[other] - valid.shape[1])), valid.shape[1])
        shape = [1] * a.dim()
        shape[axis], shape[other] = valid.shape
        # (batch, time) in the order of the two axes
        flags = valid if axis < other else valid.t()
        weight = weight & flags.reshape(shape).to(a.device)
        counted.append(other)
    return _relative(a, b, weight.expand_as(a), counted)


def _seen(
    one: int, other: int, valid: Mapping[int, Tensor], sizes: Mapping[int, tuple[int, bool]], *, strided: bool
) -> tuple[int, Tensor] | None:
    """Of an axis of these sizes in the two forwards: where what is compared starts, and which of it is content.

    None for an axis that is not one of time. `strided`: it may be one at a lower rate, or without the first or last position
    (the model shifts the sequence itself), and then the positions count whose two neighbours in the input are content.
    """
    if one in valid and (other == one or (one in sizes and other == sizes[one][0])):
        cut = sizes.get(one, (one, False)) if other != one else (one, False)
        start = one - cut[0] if cut[1] else 0
        return start, valid[one].narrow(1, start, cut[0])
    if strided and one + 1 in valid:
        length, at_start = sizes.get(one + 1, (one + 1, False)) if other != one else (one + 1, False)
        flags = valid[one + 1].narrow(1, 1, one) & valid[one + 1].narrow(1, 0, one)
        start = one + 1 - length if at_start else 0
        return (start, flags.narrow(1, start, length - 1)) if other in (one, length - 1) and length > 1 else None
    for length, flags in valid.items() if strided else ():
        step, left = rate(one, length), sizes.get(length, (length, False))
        shorter = length if other == one else left[0]
        if step is not None and not left[1] and rate(other, shorter) == step:
            return 0, torch.arange(min(one, other)) < (flags.sum(1, keepdim=True) // step)
    return None


def rate(size: int, length: int) -> int | None:
    """By which step an axis of a length was gone through to get this size; None where by none."""
    if size < _LEAST_SIZE:
        return None
    return next((step for step in range(2, _LARGEST_STEP) if size in (length // step, -(-length // step))), None)


def _relative(a: Tensor, b: Tensor, weight: Tensor, counted: list[int]) -> float | None:
    share = weight.to(a.dtype)
    if not bool(weight.any()):
        return None
    moved = math.sqrt(float(((a - b).square() * share).sum() / share.sum()))
    mean = (a * share).sum(counted, keepdim=True) / share.sum(counted, keepdim=True).clamp_min(1)
    spread = math.sqrt(float(((a - mean).square() * share).sum() / share.sum()))
    largest = float((a * share).abs().max())
    if spread <= _CONSTANT * largest or largest == 0.0:
        return None if moved <= _CONSTANT * max(largest, 1e-30) else float("inf")
    return moved / spread
