"""Products and differences in which every sample meets every other, though each has one value."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlint_rules.loss._sinks import loss_path

if TYPE_CHECKING:
    from nnlint import AxisFlow, Dim, Graph, LossCalls, Op

#: What two values are joined by, elementwise.
_JOINS = frozenset(
    {"add", "sub", "rsub", "mul", "div", "min", "max", "minimum", "maximum", "pow", "where", "addcmul", "xlogy", "lerp"}
)
#: What leaves the pairs as they are on their way to the reduction.
_KEEPS = (
    "elementwise",
    "activation",
    "clamp",
    "identity",
    "cast",
    "merge",
    "detach",
    "select",
    "compare",
    "integer-cast",
)
_AVERAGES = ("mean", "sum", "nanmean")
_UNCHANGED = ("elementwise", "activation", "clamp", "identity", "cast", "detach", "integer-cast")


@dataclass(frozen=True)
class Pairing:
    """A column and a row of samples, broadcast against each other and reduced as if the pairs were samples.

    Attributes:
        op: what joins them.
        column: the operand with an axis of size 1 that `row` lacks.
        row: the operand whose samples lie along that axis.
        on_purpose: whether the axis of size 1 was made by the loss itself, by an `unsqueeze` or `[:, None]`.
    """

    op: Op
    column: Op
    row: Op
    on_purpose: bool


def pairings(losses: LossCalls) -> Iterator[Pairing]:
    """Every pairing on the way to the loss, once for each column."""
    graph, upstream = losses.graph, loss_path(losses)
    flow = graph.axis_flow
    seen: set[tuple[int, int]] = set()
    for op in graph.ops:
        if (
            op not in upstream
            or op.name not in _JOINS
            or len(op.inputs) < 2
            or not _is_square(flow, graph.axes(op).dims)
        ):
            continue
        operands = [part for part in op.inputs if _batches(flow, graph.axes(part).dims)]
        if len(operands) < 2 or any(_is_square(flow, graph.axes(part).dims) for part in operands):
            continue
        row, *_, column = sorted(operands, key=lambda part: len(part.shape or ()))  # `where` has three
        ends = (_origin(row), _origin(column))
        key = (ends[1].index, ends[0].index)
        if len(row.shape or ()) == len(column.shape or ()) or ends[0] is ends[1] or key in seen:
            continue
        if _is_reduced_at_once(graph, op, upstream):
            seen.add(key)
            yield Pairing(op, column, row, _is_made_here(column))


def _batches(flow: AxisFlow, dims: tuple[Dim, ...]) -> list[int]:
    return [at for at, dim in enumerate(dims) if flow.is_batch(dim)]


def _is_square(flow: AxisFlow, dims: tuple[Dim, ...]) -> bool:
    return len(_batches(flow, dims)) > 1


def _origin(op: Op) -> Op:
    """What the values are before they were moved about."""
    while op.is_kind("view", "index", *_UNCHANGED) and len(op.activations) == 1:
        before = op.activations[0]
        if op.is_kind("index") and math.prod(op.shape or ()) != math.prod(before.shape or ()):
            break  # some of the values only
        op = before
    return op


def _is_made_here(column: Op) -> bool:
    """Whether the loss gave the operand its axis of size 1 by name."""
    rank = len(column.shape or ())
    while column.in_loss and column.activations and len(column.shape or ()) == rank:
        before = max(column.activations, key=lambda part: len(part.shape or ()))
        if len(before.shape or ()) < rank:
            return column.is_kind("view", "index")
        column = before
    return False


def _is_reduced_at_once(graph: Graph, op: Op, upstream: frozenset[Op]) -> bool:
    """Whether all that the loss makes of the pairs is one mean or sum over both axes of samples."""
    flow = graph.axis_flow
    waiting, seen, ends = [op], {op}, 0
    while waiting:
        for user in waiting.pop().users:
            if user in seen or user not in upstream:
                continue
            seen.add(user)
            square = _is_square(flow, graph.axes(user).dims)
            if user.name in _AVERAGES or (user.is_kind("loss") and not square):
                if sum(flow.is_batch(part.dim) for part in graph.axes(user).along) < 2:
                    return False
                ends += 1
            elif square and user.is_kind(*_KEEPS, "loss"):
                waiting.append(user)
            else:
                return False
    return ends > 0
