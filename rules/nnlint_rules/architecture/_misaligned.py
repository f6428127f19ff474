"""Values that meet entry by entry although an axis that both have lies in different order in them: windows put back without a permute."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nnlint import Finding, Level

if TYPE_CHECKING:
    from nnlint import Axis, Digit, Dim, Graph, Op

_JOINING = ("add", "mul", "div", "concat", "merge", "elementwise")
_KEEPING = ("view", "identity", "cast", "dropout", "activation", "norm", "add", "mul")
#: Where a part of an axis lies: dimension from the right, and how many entries stand between two neighbours there.
_Place = tuple[int, int]


def misaligned(graph: Graph) -> Iterator[Finding]:
    """The first value of each view that is joined with one of another order of the same axes."""
    views: set[Op] = set()
    for op in graph.calls(*_JOINING):
        found = None if op.in_loss else _meeting(graph, op)
        if found is not None and found[0] not in views:
            views.add(found[0])
            yield _finding(graph, op, *found)


def _meeting(graph: Graph, op: Op) -> tuple[Op, Axis] | None:
    """The view that laid an axis of one operand in another order, and that axis; None where the operands agree."""
    operands = [part for part in dict.fromkeys(op.activations) if graph.axes(part).data and graph.axes(part).dims]
    for at, one in enumerate(operands):
        for other in operands[at + 1 :]:
            axis = _crossed(_met(graph, op, one), _met(graph, op, other))
            views = [view for part in (one, other) if axis is not None and (view := _mixing_view(graph, part, axis))]
            if axis is not None and views:
                return max(views, key=lambda view: view.index), axis
    return None


def _met(graph: Graph, op: Op, part: Op) -> Sequence[Dim]:
    """The dimensions of an operand that meet those of the others: along the one that `cat` extends, entries stand apart."""
    dims, joined, own = graph.axes(part).dims, op.shape or (), part.shape or ()
    if not op.is_kind("concat") or not len(dims) == len(joined) == len(own):
        return dims
    return [dim for dim, whole, size in zip(dims, joined, own, strict=True) if whole == size]


def _crossed(one: Sequence[Dim], other: Sequence[Dim]) -> Axis | None:
    """An axis of the data of which a part lies elsewhere in the two; None where there is none, or whole dimensions are turned."""
    if tuple(one) == tuple(other) or sorted(map(_keys, one)) == sorted(map(_keys, other)):
        return None
    shared = {digit.axis for dim in one for digit in dim} & {digit.axis for dim in other for digit in dim}
    for axis in shared:
        if axis.origin != "data" or axis.twin is not None:
            continue
        bounds = sorted({bound for dims in (one, other) for digit in _of(axis, dims) for bound in _bounds(digit)})
        for low in bounds[:-1]:
            places = _place(axis, low, one), _place(axis, low, other)
            if None not in places and places[0] != places[1] and _is_held(places[0], other) and _is_held(places[1], one):
                return axis
    return None


def _keys(dim: Dim) -> tuple[tuple[int, int, int], ...]:
    return tuple((digit.axis.key, digit.stride, digit.size) for digit in dim)


def _of(axis: Axis, dims: Sequence[Dim]) -> list[Digit]:
    return [digit for dim in dims for digit in dim if digit.axis is axis]


def _bounds(digit: Digit) -> tuple[int, int]:
    return digit.stride, digit.stride * digit.size


def _place(axis: Axis, low: int, dims: Sequence[Dim]) -> _Place | None:
    """Where the part of the axis from that stride on lies; None where it does not."""
    for back, dim in enumerate(reversed(dims)):
        for at, digit in enumerate(dim):
            if digit.axis is axis and digit.stride <= low < digit.stride * digit.size:
                return back, math.prod(part.size for part in dim[at + 1 :]) * (low // digit.stride)
    return None


def _is_held(place: _Place | None, dims: Sequence[Dim]) -> bool:
    """Whether the other value has an axis of the data at that place, neither one entry for all nor copies."""
    if place is None or place[0] >= len(dims):
        return False
    inner = 1
    for digit in reversed(dims[len(dims) - 1 - place[0]]):
        if inner <= place[1] < inner * digit.size:
            return digit.axis.origin == "data" and digit.axis.twin is None
        inner *= digit.size
    return False


def _mixing_view(graph: Graph, op: Op, axis: Axis) -> Op | None:
    """The view above that laid the axis beside others in one dimension."""
    current: Op | None = op
    while current is not None and current.is_kind(*_KEEPING):
        before = graph.axes(current.inputs[0]).dims if current.is_kind("view") and current.inputs else ()
        if before and _is_merged(axis, graph.axes(current).dims) and not _is_merged(axis, before):
            return current
        current = current.input
    return None


def _is_merged(axis: Axis, dims: Sequence[Dim]) -> bool:
    return any(len({digit.axis for digit in dim}) > 1 for dim in dims if any(digit.axis is axis for digit in dim))


def _finding(graph: Graph, op: Op, view: Op, axis: Axis) -> Finding:
    flow = graph.axis_flow
    orders = [f"({', '.join(map(flow.describe, graph.axes(part).dims))})" for part in op.activations[:2]]
    return Finding(
        at=view,
        level=Level.ERROR,
        message=f"{view.name} to {view.shape} merges axes in an order that {op.label} does not share: it joins "
        f"{' with '.join(orders)} entry by entry",
        evidence={"from": list(view.inputs[0].shape or ()), "to": list(view.shape or ()), "axis": flow.role(axis) or None},
        fix=f"permute before the {view.name}, so that the parts of each axis are neighbours again (the inverse of the way they were "
        "taken apart: view, permute(0, 1, 3, 2, 4, 5), reshape for windows)",
        modules=tuple(path for path in (view.module_path, op.module_path) if path),
    )
