"""Inputs beside the first one that are a single value in all the data given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnlint import Level
from nnlint_rules.data._labels import BATCHES

if TYPE_CHECKING:
    from nnlint import Batch, Op
    from nnlint_rules.data._inputs import Route

#: Rows of a table up to which it may be one of types or segments, of which a batch has only one.
_TYPES = 8


def constant_input(route: Route, batch: Batch, least: int) -> Level | None:
    """How grave it is that an input is constant; None where it is not, or where that may be.

    Args:
        route: of the input.
        batch: which it belongs to.
        least: samples that are needed.
    """
    view = route.tensor
    if not view.constant or not route.takers or batch.samples < 2 or batch.samples not in view.shape[:2]:
        return None
    if "mask" in view.name.lower() or view.dtype == "bool" or view.values.numel() < 2 * batch.samples:
        return None
    seen = [other for one in batch.batches(BATCHES) for other in one.inputs if other.name == view.name] or [view]
    if any(not other.constant or other.min != view.min for other in seen):
        return None
    if sum(one.samples for one in batch.batches(BATCHES)) < least:
        return None
    tables = [op for op in route.takers if op.is_kind("embedding")]
    if tables and all(_rows(op) <= _TYPES for op in tables):
        return None
    return Level.WARNING if view.is_floating and view.min == 0 else Level.ERROR


def _rows(op: Op) -> int:
    """Rows of the table that an embedding looks things up in."""
    table = next((source for source in op.inputs if source.is_kind("parameter")), None)
    return table.shape[0] if table is not None and table.shape else _TYPES + 1
