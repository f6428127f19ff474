"""Tables of positions that are joined with values of the batch, and the axis that each varies along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint import AxisFlow, Dim, Graph, Op


_JOINED = ("add", "sub")


@dataclass(frozen=True)
class PositionTable:
    """A table of positions joined with values of the batch.

    Attributes:
        op: what joins them.
        table, value: the operands.
        wrong, right: the dimensions of `value` along which the table varies, and along which the positions lie.
    """

    op: Op
    table: Op
    value: Op
    wrong: int
    right: int


def added(graph: Graph, op: Op) -> PositionTable | None:
    """A table added to values, or concatenated with their features, one row of it for each sample."""
    flow = graph.axis_flow
    joined = op.is_kind("concat") and len(graph.axes(op).dims) > 2 and _widens_last(op)
    if (op.name != "add" and not joined) or op.in_loss:
        return None
    pair = _constant_and_value(graph, op)
    if pair is None or not (joined or _has_features(graph, pair[0])):
        return None
    return _varying(flow, op, *pair, wrong=flow.is_batch)


def _has_features(graph: Graph, table: Op) -> bool:
    """Whether the table has a last dimension, larger than 1; a number has none."""
    return any(graph.axes(table).dims[-1:])


def _widens_last(op: Op) -> bool:
    """Whether a concatenation is one of features."""
    return all((part.shape or ())[:-1] == (op.shape or ())[:-1] for part in op.inputs)


def rotated(graph: Graph, op: Op) -> PositionTable | None:
    """Rotary encodings: a sum of two products, each of the values (turned, in one of them) with a table of its own."""
    flow = graph.axis_flow
    products = [part for part in op.inputs if part.name == "mul"] if op.name in _JOINED and not op.in_loss else []
    if op.name == "mul" and op.dtype.startswith("complex"):
        products = [op, op]
    pairs = [_constant_and_value(graph, product) for product in products]
    if len(pairs) != 2 or pairs[0] is None or pairs[1] is None:
        return None
    (table, value), (other, _) = pairs[0], pairs[1]
    if table.shape != other.shape or any(part.requires_grad for part in (table, other)):
        return None
    last = graph.axes(value).dims[-1:]

    def is_wrong(dim: Dim) -> bool:
        return _is_head(dim, last[0] if last else ()) or flow.is_batch(dim)

    if not _has_features(graph, table):
        return None
    return _varying(flow, op, table, value, wrong=is_wrong)


def _constant_and_value(graph: Graph, op: Op) -> tuple[Op, Op] | None:
    """The operand that does not depend on the batch, and the one that does."""
    if len(op.inputs) != 2:
        return None
    one, other = op.inputs
    if graph.axes(one).data:
        one, other = other, one
    table = graph.axes(one)
    if table.data or table.random or not graph.axes(other).data or one.dtype == "bool" or len(other.shape or ()) < 3:
        return None
    return one, other


def _varying(flow: AxisFlow, op: Op, table: Op, value: Op, *, wrong: Callable[[Dim], bool]) -> PositionTable | None:
    """Where the table varies along a wrong dimension, and is the same along one that is left for the positions."""
    dims, rows = flow.of(value).dims, flow.of(table).dims
    rows = ((),) * (len(dims) - len(rows)) + rows
    if len(rows) != len(dims):
        return None
    at = [place for place, dim in enumerate(dims[:-1]) if _varies(rows[place]) and wrong(dim)]
    free = [
        place
        for place, dim in enumerate(dims[:-1])
        if not _varies(rows[place]) and dim and not wrong(dim) and not flow.has_batch(dim)
    ]
    others = [place for place in range(len(dims) - 1) if place not in at and _varies(rows[place])]
    return PositionTable(op, table, value, at[0], free[0]) if at and free and not others else None


def _varies(dim: Dim) -> bool:
    return bool(dim) and all(digit.axis.origin == "constant" for digit in dim)


def _is_head(dim: Dim, last: Dim) -> bool:
    """Whether a dimension is the outer part of the axis whose inner part is the last one: heads and the features of a head."""
    return any(
        (one.axis is other.axis and one.stride >= other.stride * other.size)
        # half of a head's features, as rotary encodings turn them, is an axis of its own that was taken from that one
        or (other.axis.roots == {one.axis.key} and one.stride > 1)
        for one in dim
        for other in last
    )
