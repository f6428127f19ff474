"""Where a batch is padded: positions of its sequences that hold no content, told by masks, lengths, ids or constant ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from nnlint.tensors import is_dense

#: A mask that is added to scores holds values below this where it blocks.
_BLOCKING = -1e3
#: Constant ends without a known pad id: how many positions they need, and how many of them there have to be.
_SHORTEST = 4
_LEAST_RUN = 2
_LEAST_SHARE = 0.05
_DISTINCT = 3
#: Share of the content that may hold the padding's value, and more where the value is declared to be padding.
_BY_CHANCE, _OF_KNOWN = 0.02, 0.1


@dataclass(frozen=True, eq=False)
class Leaf:
    """One tensor of the inputs or targets: its name, its place among them, and its values."""

    name: str
    index: int
    tensor: Tensor = field(repr=False)


@dataclass(frozen=True, eq=False)
class PaddedSequence:
    """A tensor of the batch whose samples have different lengths.

    Attributes:
        leaf: the tensor.
        batch_axis, time_axis: its axes.
        valid: (batch, time), True where there is content.
        at_start: the padding is before the content.
        known_by: how the padding was told, in words: `the padding id 0`, `the mask attention_mask`.
        mask: the input tensor that says where the content is; None where there is none.
        given_lengths: the input tensor that holds the lengths; None where there is none.
        ends_assumed: the first of the padding counts as content, since the id that pads may be that of the end as well.
    """

    leaf: Leaf
    batch_axis: int
    time_axis: int
    valid: Tensor = field(repr=False)
    at_start: bool
    known_by: str
    mask: Leaf | None = None
    given_lengths: Leaf | None = None
    ends_assumed: bool = False

    @property
    def lengths(self) -> Tensor:
        """Positions with content, for each sample."""
        return self.valid.sum(1)

    @property
    def length(self) -> int:
        """Positions of the time axis."""
        return int(self.valid.shape[1])

    @property
    def share(self) -> float:
        """Share of the positions that are padding."""
        return float((~self.valid).double().mean())


@dataclass(frozen=True)
class PadIds:
    """Ids that are known to be padding, and those that end a sequence.

    Attributes:
        known: id -> where it is declared, in words.
        ends: ids that end a sequence: where such an id pads as well, its first occurrence is content.
    """

    known: dict[int, str]
    ends: frozenset[int] = frozenset()


def find_padding(leaves: Sequence[Leaf], samples: int, ids: PadIds) -> tuple[PaddedSequence, ...]:
    """The padded sequences among the tensors of a batch.

    Args:
        leaves: the tensors of the inputs, or of the targets.
        samples: how many samples the batch holds.
        ids: known padding ids.
    """
    masks = [(leaf, plain) for leaf in leaves if (plain := _as_mask(leaf.tensor, samples)) is not None]
    lengths = [leaf for leaf in leaves if _may_be_lengths(leaf, samples)]
    masking = {leaf.index for leaf, _ in masks}
    found = []
    for leaf in leaves if samples > 1 else ():
        if leaf.index in masking or not _may_be_content(leaf):
            continue
        made = next(_of_leaf(leaf, samples, masks, lengths, ids), None)
        if made is not None:
            found.append(made)
    return tuple(found)


def flat_masks(leaves: Iterable[Leaf], samples: int) -> tuple[Leaf, ...]:
    """Inputs called masks that hold one value only."""
    return tuple(
        leaf
        for leaf in leaves
        if "mask" in leaf.name.lower()
        and leaf.tensor.dim() > 1
        and leaf.tensor.shape[0] == samples
        and bool((leaf.tensor == leaf.tensor.reshape(-1)[0]).all())
    )


# -------------------------------------------------------------------- what a tensor may be


def _may_be_content(leaf: Leaf) -> bool:
    tensor, name = leaf.tensor, leaf.name.lower()
    if not is_dense(tensor) or tensor.is_complex() or tensor.dtype == torch.bool:
        return False
    if any(word in name for word in ("mask", "label", "position", "segment", "token_type")):
        return False
    return tensor.dim() in (2, 3) and tensor.numel() > 0


def _as_mask(tensor: Tensor, samples: int) -> Tensor | None:
    """The tensor as (batch, time) where it has at most two values and changes between them at most once a row."""
    if not is_dense(tensor) or tensor.is_complex() or tensor.dim() < 2 or tensor.shape[0] != samples or not samples:
        return None
    plain = tensor.reshape(tensor.shape[0], -1) if tensor.numel() == samples * max(tensor.shape[1:]) else None
    if plain is None or plain.shape[1] < 2:
        return None
    high = plain.amax() if plain.dtype != torch.bool else torch.ones((), dtype=torch.bool)
    flags = plain == high
    others = plain[~flags]
    if others.numel() and not bool((others == others[0]).all()):
        return None
    if plain.dtype != torch.bool and not _are_mask_values(float(high), others):
        return None
    switches = (flags[:, 1:] != flags[:, :-1]).sum(1)
    return flags if bool((switches <= 1).all()) and bool(switches.any()) else None


def _are_mask_values(high: float, others: Tensor) -> bool:
    if not others.numel():
        return False
    low = float(others[0])
    return (high, low) == (1.0, 0.0) or (high == 0.0 and low < _BLOCKING)


def _may_be_lengths(leaf: Leaf, samples: int) -> bool:
    tensor = leaf.tensor
    if (
        tensor.is_floating_point()
        or tensor.dtype == torch.bool
        or tuple(tensor.shape) not in ((samples,), (samples, 1))
    ):
        return False
    return bool((tensor >= 1).all())


# -------------------------------------------------------------------- one sequence


def _of_leaf(
    leaf: Leaf, samples: int, masks: list[tuple[Leaf, Tensor]], lengths: list[Leaf], ids: PadIds
) -> Iterator[PaddedSequence]:
    layouts = [(batch, time) for batch, time in _layouts(leaf.tensor, samples)]
    for batch, time in layouts:
        rows = _rows(leaf.tensor, batch, time)
        yield from _by_mask(leaf, rows, (batch, time), masks)
        yield from _by_lengths(leaf, rows, (batch, time), lengths)
    for batch, time in layouts:
        yield from _by_values(leaf, _rows(leaf.tensor, batch, time), (batch, time), ids)


def _layouts(tensor: Tensor, samples: int) -> Iterator[tuple[int, int]]:
    """(batch axis, time axis) as the tensor may be meant, likeliest first."""
    for batch in (0, 1):
        if tensor.shape[batch] != samples or samples < 2:
            continue
        for time in range(tensor.dim()):
            if time != batch and tensor.shape[time] >= _SHORTEST and not (batch == 1 and time == 2):
                yield batch, time


def _rows(tensor: Tensor, batch: int, time: int) -> Tensor:
    """(batch, time, features) on the CPU."""
    moved = tensor.detach().movedim((batch, time), (0, 1))
    return moved.reshape(moved.shape[0], moved.shape[1], -1).cpu()


def _by_mask(
    leaf: Leaf, rows: Tensor, axes: tuple[int, int], masks: list[tuple[Leaf, Tensor]]
) -> Iterator[PaddedSequence]:
    for mask, flags in masks:
        if flags.shape != rows.shape[:2]:
            continue
        valid = _content_of_mask(rows, flags.cpu(), mask.tensor)
        if valid is not None and bool(valid.any(1).all()) and len(valid.sum(1).unique()) > 1:
            at_start = not bool(valid[:, 0].all())
            yield PaddedSequence(leaf, *axes, valid, at_start, f"the mask {mask.name}", mask)


def _content_of_mask(rows: Tensor, flags: Tensor, mask: Tensor) -> Tensor | None:
    """Which of the mask's two values stands for content."""
    if mask.dtype.is_floating_point and float(mask.amin()) < _BLOCKING:
        return flags
    constant = [_is_constant(rows[part]) for part in (~flags, flags)]
    if constant[0] != constant[1]:
        return flags if constant[0] else ~flags
    # Content comes first, unless every sample ends with it.
    for edge in (0, -1):
        first = flags[:, edge]
        if bool(first.all()):
            return flags
        if not bool(first.any()):
            return ~flags
    return None


def _is_constant(values: Tensor) -> bool:
    return values.numel() > 0 and bool((values == values.reshape(-1)[0]).all())


def _by_lengths(leaf: Leaf, rows: Tensor, axes: tuple[int, int], given: list[Leaf]) -> Iterator[PaddedSequence]:
    for item in given:
        lengths = item.tensor.reshape(-1).cpu()
        longest = int(lengths.max())
        if item.index == leaf.index or longest > rows.shape[1] or len(lengths.unique()) < 2:
            continue
        valid = torch.arange(rows.shape[1]) < lengths[:, None]  # lengths are 1 at least
        named = "len" in item.name.lower() or "size" in item.name.lower()
        if ((named or longest == rows.shape[1]) and _is_constant(rows[~valid])) or (named and longest == rows.shape[1]):
            told = f"the lengths {item.name}"
            yield PaddedSequence(leaf, *axes, valid, at_start=False, known_by=told, given_lengths=item)


def _by_values(leaf: Leaf, rows: Tensor, axes: tuple[int, int], ids: PadIds) -> Iterator[PaddedSequence]:
    is_ids = not rows.is_floating_point()
    for at_start in (False, True):
        ordered = rows.flip(1) if at_start else rows
        for number, origin in ids.known.items() if is_ids and rows.shape[2] == 1 else ():
            valid = _before_run(ordered, number)
            if _is_ragged(valid) and _share_inside(ordered, number, valid) <= _OF_KNOWN:
                if number in ids.ends and not at_start:
                    valid = valid | _first_padding(valid)
                yield _made(leaf, axes, valid, f"the padding id {number} ({origin})", at_start=at_start)
        value = _common_end(ordered)
        if value is not None and _looks_padded(ordered, value):
            text = f"the {'id' if is_ids else 'constant'} {value:g} that fills the ends of the samples"
            valid = _before_run(ordered, value)
            found = _made(leaf, axes, valid, text, at_start=at_start)
            if is_ids and not at_start and _may_be_ends(rows, valid):
                found = replace(found, valid=valid | _first_padding(valid), ends_assumed=True)
            yield found


def _is_ragged(valid: Tensor) -> bool:
    """Whether runs of a known padding id are of several lengths, and more than what random ids end with by chance."""
    runs = (~valid).sum(1)
    several = int((runs >= 1).sum()) > 1 and bool((runs >= _LEAST_RUN).any())
    return bool(valid.any(1).all()) and len(runs.unique()) > 1 and (several or bool((runs > _LEAST_RUN).any()))


def _made(leaf: Leaf, axes: tuple[int, int], valid: Tensor, known_by: str, *, at_start: bool) -> PaddedSequence:
    return PaddedSequence(leaf, *axes, valid.flip(1) if at_start else valid, at_start, known_by)


def _before_run(rows: Tensor, value: float) -> Tensor:
    """(batch, time), False along the run of the value at the end of each row."""
    return (rows != value).any(2).flip(1).int().cummax(1).values.flip(1).bool()


def _may_be_ends(rows: Tensor, valid: Tensor) -> bool:
    """Whether the id that fills the ends may be that of the end itself: all rows have it, and nothing else ends them all."""
    last = rows[..., 0].gather(1, (valid.sum(1) - 1)[:, None])
    return not bool(valid[:, -1].any()) and len(last.unique()) > 1


def _first_padding(valid: Tensor) -> Tensor:
    """True at the first padded position of each row."""
    positions = torch.arange(valid.shape[1])
    return positions == valid.sum(1, keepdim=True)


def _common_end(rows: Tensor) -> float | None:
    """The value that fills the last position of most of the rows that end with a constant one."""
    last = rows[:, -1]
    constant = (last == last[:, :1]).all(1)
    if int(constant.sum()) < 2:
        return None
    return float(last[constant][:, 0].double().mode().values) + 0.0  # no -0


def _looks_padded(rows: Tensor, value: float) -> bool:
    """Whether ends of one value are padding: of several lengths, the value nowhere else, and not on both sides."""
    valid = _before_run(rows, value)
    runs = (~valid).sum(1)
    if not bool(valid.any(1).all()) or int(runs.max()) < _LEAST_RUN:
        return False
    # A single number is the value by chance far more often than a row of features is.
    allowed = 0.0 if rows.shape[2] == 1 else _BY_CHANCE
    distinct = len(runs.unique())
    enough = distinct >= min(_DISTINCT, max(2, len(runs) - 1))
    return enough and _share_inside(rows, value, valid) <= allowed and float((~valid).double().mean()) >= _LEAST_SHARE


def _share_inside(rows: Tensor, value: float, valid: Tensor) -> float:
    """Share of the positions with content that hold the value as well."""
    return float((rows == value).all(2)[valid].double().mean())
