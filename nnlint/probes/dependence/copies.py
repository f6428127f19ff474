"""Whether targets are a copy of an input, moved along time: labels of language models, windows of series, reconstructions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

#: Shifts that are tried besides the one that aligns the ends.
_SHIFTS = range(-2, 4)
#: Share of the positions that must agree, and the largest share at any other shift.
_SAME, _OTHER = 0.98, 0.5
#: Share that leaves it open whether they do: a label may be one that the loss, which was not called yet, passes over.
POSSIBLE = 0.6
_LEAST = 8


@dataclass(frozen=True, eq=False)
class Copy:
    """Targets that repeat an input.

    Attributes:
        shift: target t is what the input holds at position t + shift.
        rows: the targets as (batch, time, ...).
        counted: (batch, time), True where the target is one that counts.
        time_first: rows of a flattened prediction come time by time.
    """

    shift: int
    rows: Tensor = field(repr=False)
    counted: Tensor = field(repr=False)
    time_first: bool


def copy_of(values: Tensor, target: Tensor, *, ignored: int | None = None, same: float = _SAME) -> Copy | None:
    """How the targets repeat the input; None where they do not.

    Args:
        values: the input, (batch, time) or (batch, time, features).
        target: targets of the same batch, also flattened or with time first.
        ignored: label that the loss passes over; negative labels are passed over as well.
        same: share of the positions that must agree.
    """
    if values.dtype.is_floating_point != target.dtype.is_floating_point or values.dtype is torch.bool:
        return None
    for rows, time_first in _arrangements(target, values.shape[0]):
        whole = _fitting(values, rows)
        if whole is None:
            continue
        counted = torch.ones(rows.shape[:2], dtype=torch.bool)
        if not rows.is_floating_point():
            counted = (rows >= 0) & (rows != (ignored if ignored is not None else -1))
        shift = _shift(whole, rows, counted, same)
        if shift is not None:
            return Copy(shift, rows, counted, time_first)
    return None


def _arrangements(target: Tensor, batch: int) -> Iterator[tuple[Tensor, bool]]:
    """The targets as (batch, time, ...), and whether time was first."""
    target = target.detach().cpu()
    if target.dim() == 1 and target.numel() % batch == 0:
        yield target.reshape(batch, -1), False
        if target.numel() > batch:
            yield target.reshape(-1, batch).t(), True
    elif target.dim() in (2, 3):
        if target.shape[0] == batch:
            yield target, False
            if target.dim() == 3:
                yield target.transpose(1, 2), False  # features before time
        if target.shape[1] == batch:
            yield target.transpose(0, 1), True


def _fitting(values: Tensor, rows: Tensor) -> Tensor | None:
    """The input with as many features as the targets; all of them in turn are tried by the caller's feature 0."""
    values = values.detach().cpu()
    if rows.dim() == values.dim() and rows.shape[2:] == values.shape[2:]:
        return values
    if values.dim() == 3 and (rows.dim() == 2 or rows.shape[2] == 1):
        flat = rows if rows.dim() == 2 else rows[..., 0]
        found = next((values[..., index] for index in range(values.shape[2]) if _agree(values[..., index], flat)), None)
        return found if rows.dim() == 2 or found is None else found[..., None]
    if values.dim() == 2 and rows.dim() == 3 and rows.shape[2] == 1:
        return values[..., None]
    return None


def _agree(values: Tensor, flat: Tensor) -> bool:
    """Whether this feature is the one that the targets hold: every last target is somewhere in its sample."""
    return bool((values == flat[:, :1]).any(1).double().mean() > _SAME)


def _shift(values: Tensor, rows: Tensor, counted: Tensor, same: float) -> int | None:
    time, length = values.shape[1], rows.shape[1]
    if length > time + max(_SHIFTS):
        return None
    shares: dict[int, float] = {}
    for shift in sorted({*_SHIFTS, time - length}):
        share = _share(values, rows, counted, shift)
        if share is not None:
            shares[shift] = share
    if not shares:
        return None
    best = max(shares, key=lambda shift: shares[shift])
    others = [share for shift, share in shares.items() if shift != best]
    return best if shares[best] >= same and max(others, default=0.0) < _OTHER else None


def _share(values: Tensor, rows: Tensor, counted: Tensor, shift: int) -> float | None:
    """Share of the counted targets that equal the input at this shift, where the input differs from its neighbours."""
    first, last = max(0, -shift), min(rows.shape[1], values.shape[1] - shift)
    if last <= first:
        return None
    taken = values[:, first + shift : last + shift]
    equal = _equal(taken, rows[:, first:last])
    changing = _changes(values)[:, first + shift : last + shift]
    judged = counted[:, first:last] & changing
    return float(equal[judged].double().mean()) if int(judged.sum()) >= _LEAST else None


def _equal(one: Tensor, other: Tensor) -> Tensor:
    if one.is_floating_point():
        close = torch.isclose(one.double(), other.double(), rtol=1e-5, atol=1e-7)
    else:
        close = one == other
    return close if close.dim() == 2 else close.all(2)


def _changes(values: Tensor) -> Tensor:
    """(batch, time), True where the input is not what it was one position before."""
    changes = ~_equal(values[:, 1:], values[:, :-1])
    return torch.cat([torch.ones(len(values), 1, dtype=torch.bool), changes], 1)
