"""Inputs beside the first one that are a single value in all the data given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnlint import Level
from nnlint_rules.data._labels import BATCHES

if TYPE_CHECKING:
    from nnlint import Batch, BatchTensor, Op
    from nnlint_rules.data._inputs import Route

#: Rows of a table up to which it may be one of types or segments, of which a batch has only one.
_TYPES = 8
#: Positions from which a start value and a filler are a sequence. No calibration: fewer are a pair of numbers.
_LEAST = 4


def filler(view: BatchTensor) -> float | None:
    """The one value that an input holds, after a start value that is the same for all samples, perhaps; None where there are more."""
    if view.constant:
        return view.min
    rows = view.by_sample
    if view.samples < 2 or rows.dim() < 2 or rows.shape[1] < _LEAST or not view.finite or not bool((rows == rows[:1]).all()):
        return None
    if rows.dim() < 3 and view.is_floating:
        return None  # features of a sample, and no sequence: a one-hot domain, perhaps
    rest = rows[0, 1:]
    return float(rest.flatten()[0]) if bool((rest == rest.flatten()[0]).all()) else None


def constant_input(route: Route, batch: Batch, least: int) -> Level | None:
    """How grave it is that an input is constant; None where it is not, or where that may be.

    Args:
        route: of the input.
        batch: which it belongs to.
        least: samples that are needed.
    """
    view = route.tensor
    value = filler(view) if route.takers and batch.samples > 1 and batch.samples in view.shape[:2] else None
    if value is None:
        return None
    if "mask" in view.name.lower() or view.dtype == "bool" or view.values.numel() < 2 * batch.samples:
        return None
    seen = [other for one in batch.batches(BATCHES) for other in one.inputs if other.name == view.name] or [view]
    if any(filler(other) != value for other in seen):
        return None
    if sum(one.samples for one in batch.batches(BATCHES)) < least:
        return None
    tables = [op for op in route.takers if op.is_kind("embedding")]
    if tables and all(_rows(op) <= _TYPES for op in tables):
        return None
    return Level.WARNING if view.is_floating and value == 0 else Level.ERROR


def _rows(op: Op) -> int:
    """Rows of the table that an embedding looks things up in."""
    table = next((source for source in op.inputs if source.is_kind("parameter")), None)
    return table.shape[0] if table is not None and table.shape else _TYPES + 1
