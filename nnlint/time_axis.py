"""Which axis of given sequences is time, told by their values: labels moved by one, start tokens, padding, unequal lengths.

Shapes alone do not tell (batch, time) from (time, batch), where targets have both axes as well. Calibration of the limits:
docs/evidence/calibration.md#code-limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

import torch
from torch import Tensor

from nnlint.tensors import is_dense, is_fake

#: Shorter axes say nothing, and larger tensors are not searched.
_LEAST, _LARGEST = 3, 1 << 20
#: Positions, or entries of padding, that have to agree.
_ENOUGH = 8
#: Share of the positions that are the next ones of an input, and the largest along the other axis.
_SAME, _OTHER = 0.98, 0.5
#: Correlation of neighbours along time at least, and along the samples at most, of series of numbers with so many steps.
_SMOOTH, _ROUGH, _STEPS = 0.7, 0.25, 8
#: Share of the labels that their ids tell at least, and how much less they tell in another order;
#: docs/evidence/calibration.md#order-of-flat-targets.
_TOLD, _APART = 0.9, 0.25
#: Chance of a whole row of one id, if ids are drawn as often as they occur.
_CHANCE = 1e-3


def told_time(inputs: Iterable[Tensor], targets: Iterable[Tensor]) -> tuple[int, int] | None:
    """Which of the two leading axes is time.

    Args:
        inputs: what the model gets.
        targets: what its outputs are compared with; flattened ones are taken in the order of an input.

    Returns:
        The axis, 0 or 1, and the number of samples along the other; None where the values say nothing, or contradict each other.
    """
    given, wanted = list(filter(_is_read, inputs)), list(filter(_is_read, targets))
    every = [*given, *wanted]
    votes = {*_by_shift(given, wanted), *_by_ids(every), *_by_lengths(every), *_by_smoothness(every)}
    return next(iter(votes)) if len(votes) == 1 else None


def flat_order(values: Tensor, target: Tensor) -> tuple[int, int] | None:
    """In which order a flat target goes through the two axes of ids that an input holds.

    Args:
        values: ids of shape (A, B).
        target: A * B labels in one row: the ids themselves, the next ones, or labels that depend on the id.

    Returns:
        (0, 1) row by row of the input, (1, 0) column by column; None where the values do not tell.
    """
    if not _is_read(values) or not _is_read(target) or not _is_ids(values) or target.numel() != values.numel():
        return None
    laid = (target.reshape(values.shape), target.reshape(values.shape[::-1]).T)
    for agreement, enough, least in ((_share_alike, _SAME, _OTHER), (_share_told, _TOLD, None)):
        rows, columns = (agreement(values, labels) for labels in laid)
        low = max(rows, columns) - _APART if least is None else least
        if max(rows, columns) >= enough and min(rows, columns) < low:
            return (0, 1) if rows > columns else (1, 0)
    return None


def _share_alike(values: Tensor, labels: Tensor) -> float:
    """The largest share of the labels that are the id at their place, or the next one along an axis."""
    same = float((labels == values).double().mean())
    following = [_share_of_next(values, labels, axis) for axis in (0, 1)]
    return max([same, *following])


def _share_told(values: Tensor, labels: Tensor) -> float:
    """Share of the labels that the id at their place tells, if each id stands for the label it has most often."""
    judged = labels >= 0  # -100 is no label
    ids, kinds = (tensor[judged].unique(return_inverse=True)[1] for tensor in (values, labels))
    if not ids.numel() or labels.is_floating_point():
        return 0.0
    table = torch.zeros(int(ids.max()) + 1, int(kinds.max()) + 1, device=ids.device)
    table.index_put_((ids, kinds), torch.ones(ids.shape, device=ids.device), accumulate=True)
    told: float = float(table.max(1).values.sum()) / ids.numel()
    return told


def _is_read(tensor: Tensor) -> bool:
    return is_dense(tensor) and not is_fake(tensor) and 0 < tensor.numel() <= _LARGEST


def _is_ids(tensor: Tensor) -> bool:
    whole = tensor.dtype in (torch.int64, torch.int32, torch.int16)
    return whole and tensor.dim() == 2 and min(tensor.shape) >= _LEAST


def _by_shift(inputs: list[Tensor], targets: list[Tensor]) -> Iterator[tuple[int, int]]:
    """Targets that hold at each time what an input holds at the next, or, shifted the wrong way, at the one before."""
    for values in inputs:
        if not 2 <= values.dim() <= 3 or min(values.shape[:2]) < _LEAST:
            continue
        for target in targets:
            if target.numel() != values.numel() or target.dtype != values.dtype:
                continue
            # Two axes in the other order have as many entries.
            if target.dim() > 1 and target.shape[:2] != values.shape[:2]:
                continue
            aligned = target.reshape(values.shape)
            pairs = ((values, aligned), (aligned, values))
            shares = [max(_share_of_next(one, other, axis) for one, other in pairs) for axis in (0, 1)]
            if min(shares) < _OTHER:
                yield from _judged(values, (shares[0] >= _SAME, shares[1] >= _SAME))


def _share_of_next(values: Tensor, target: Tensor, axis: int) -> float:
    """Share of the targets that are the next value along an axis, where that is another one than the present."""
    length = values.shape[axis]
    following, present = values.narrow(axis, 1, length - 1), values.narrow(axis, 0, length - 1)
    labels = target.narrow(axis, 0, length - 1)
    judged = following != present
    if not labels.is_floating_point():
        judged &= labels >= 0  # -100 is no label
    count = int(judged.sum())
    return float((labels == following)[judged].double().mean()) if count >= _ENOUGH else 0.0


def _by_ids(tensors: list[Tensor]) -> Iterator[tuple[int, int]]:
    """Ids that all samples begin or end with, and padding at their ends."""
    for tensor in filter(_is_ids, tensors):
        for found in (_has_common_end, _has_padding):
            yield from _judged(tensor, (found(tensor, 0), found(tensor, 1)))


def _judged(tensor: Tensor, looks_like_time: tuple[bool, bool]) -> Iterator[tuple[int, int]]:
    """The axis of time, if one of the two leading axes alone looks like it, and the samples along the other."""
    if looks_like_time.count(True) == 1:
        axis = looks_like_time.index(True)
        yield axis, tensor.shape[1 - axis]


def _has_common_end(tensor: Tensor, axis: int) -> bool:
    """Whether the first or the last entry along an axis is the same id for all, and not by chance."""
    for place in (0, -1):
        row = tensor.select(axis, place)
        frequency = float((tensor == row[0]).double().mean())
        if bool((row == row[0]).all()) and frequency ** (len(row) - 1) < _CHANCE:
            return True
    return False


def _has_padding(tensor: Tensor, axis: int) -> bool:
    """Whether one id stands at the ends along an axis and nowhere else, and the ends have different lengths."""
    for rows in (tensor.movedim(axis, 1), tensor.movedim(axis, 1).flip(1)):
        filled = rows == rows[:, -1].mode().values
        lengths = filled.sum(1)
        alone = bool((filled[:, 1:] >= filled[:, :-1]).all())
        if alone and int(lengths.sum()) >= _ENOUGH and len(lengths.unique()) > 2:
            return True
    return False


def _by_lengths(tensors: list[Tensor]) -> Iterator[tuple[int, int]]:
    """Sequences of ids, such as a source and a translation, that have as many samples and different lengths."""
    for one, other in combinations(filter(_is_ids, tensors), 2):
        equal = [one.shape[axis] == other.shape[axis] for axis in (0, 1)]
        if 0 not in (len({*tensor.shape}) - 1 for tensor in (one, other)):
            yield from _judged(one, (equal[1], equal[0]))


def _by_smoothness(tensors: list[Tensor]) -> Iterator[tuple[int, int]]:
    """Series of numbers: neighbours in time are alike, neighbours in the batch are not."""
    for tensor in tensors:
        if tensor.is_floating_point() and tensor.dim() == 3 and min(tensor.shape[:2]) >= _STEPS:
            alike = [_correlation(tensor, axis) for axis in (0, 1)]
            if min(alike) <= _ROUGH:
                yield from _judged(tensor, (alike[0] >= _SMOOTH, alike[1] >= _SMOOTH))


def _correlation(tensor: Tensor, axis: int) -> float:
    """Of neighbours along an axis, over all features, each brought to mean 0 and deviation 1; 1 where nothing varies."""
    values = tensor.detach().double()
    values = values - values.mean((0, 1))
    spread = values.square().mean((0, 1)).sqrt()
    values = values[..., spread > 0] / spread[spread > 0]
    length = values.shape[axis]
    changes = values.narrow(axis, 1, length - 1) - values.narrow(axis, 0, length - 1)
    return 1.0 - float(changes.square().mean()) / 2 if values.numel() else 1.0
