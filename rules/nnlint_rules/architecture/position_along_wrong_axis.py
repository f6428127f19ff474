"""ARC030: positional encodings that vary along the batch or the heads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule

if TYPE_CHECKING:
    from nnlint import AxisFlow, Dim, Graph, Mixing, Op

_JOINED = ("add", "sub")
#: Largest change of the outputs by another order that is rounding (ARC021; docs/evidence/calibration.md).
_BLIND = 1e-5


@dataclass(frozen=True)
class _Table:
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


@rule("ARC030", "position-along-wrong-axis", level="warning", since="0.2")
def check(graph: Graph, mixing: Mixing | None) -> Iterator[Finding]:
    """Positional encodings vary along the batch or the heads instead of the sequence.

    ## What it does
    Looks where a table that does not depend on the batch (a parameter, a buffer, sines of `arange`) is added to values of the
    batch, concatenated with them as one more feature, or multiplies them as rotary encodings do, and at which of their axes it
    varies. Reports a table that has one row for each sample, or for each head, and the same for all positions. The axis of the
    samples has to be known by more than its place: by the targets, the loader, a convolution over it, or by the measurement that
    the positions of the other axis can be shuffled and nothing changes (ARC021).

    ## Why is this bad?
    Every position gets the same encoding, so that the order of the sequence is invisible, and a sample's result depends on its
    place in the batch. Tables are longer than any batch, so that nothing raises.

    ## Example
        x = x + self.pe[: x.size(0)]  # pe (max_len, 1, width), x (batch, time, width)

    ## Use instead
        x = x + self.pe[: x.size(1)].transpose(0, 1)

    ## References
    - Vaswani et al., 2017, arXiv:1706.03762, section 3.5
    - Su et al., 2021, arXiv:2104.09864 (rotary encodings)
    """
    if graph.method == "symbolic":
        raise Skip("needs shapes, but the model did not run")
    places: set[object] = set()
    for op in graph.ops:
        found = _added(graph, op) or _rotated(graph, op)
        place = op.call_location or op.index
        if found is not None and place not in places and _is_told(graph, mixing, found):
            places.add(place)  # one line that runs for every layer is one fault
            yield _finding(graph, found)


def _finding(graph: Graph, found: _Table) -> Finding:
    flow = graph.axis_flow
    dims = graph.axes(found.value).dims
    shape, table = found.value.shape or (), found.table.shape or ()
    wrong = "batch" if flow.is_batch(dims[found.wrong]) else "heads"
    wanted = [size if at in (found.right, len(shape) - 1) else 1 for at, size in enumerate(shape)]
    return Finding(
        at=found.op,
        message=f"the positional encoding {table} varies along the {wrong} (axis {found.wrong} of {shape}) and is the same at all "
        f"{shape[found.right]} positions of axis {found.right}",
        evidence={
            "table": list(table),
            "values": list(shape),
            "varies_along": found.wrong,
            "positions_along": found.right,
        },
        fix=f"take the rows by x.size({found.right}) and give the table the shape {tuple(wanted)}",
        modules=tuple(_blind(graph, found.op)),
    )


def _is_told(graph: Graph, mixing: Mixing | None, found: _Table) -> bool:
    """Whether it is known, or measured, that the table varies along something else than the order of the sequence."""
    flow = graph.axis_flow
    dims = graph.axes(found.value).dims
    if not flow.is_batch(dims[found.wrong]):
        return True
    if _has_a_row_for_each(graph, found):
        return False
    if flow.batch_is_certain:
        return True
    if mixing is None:
        return False
    try:
        order = mixing.order
    except Skip:
        return False
    return order is not None and order.change <= _BLIND and order.length == (found.value.shape or ())[found.right]


def _has_a_row_for_each(graph: Graph, found: _Table) -> bool:
    """Whether the table is a parameter of as many rows as there are samples, and not as many as positions: the nodes of one graph."""
    shape = found.value.shape or ()
    if shape[found.wrong] == shape[found.right]:
        return False
    dims = graph.axes(found.table).dims
    rows = dims[found.wrong - len(shape)]  # counted from the end: a table may lack leading axes
    above = graph.ancestors(found.table) | {found.table}
    return any(rows in graph.axes(op).dims for op in above if op.is_kind("parameter", "buffer"))


def _blind(graph: Graph, op: Op) -> Iterator[str]:
    """Modules after it that would know the order by the encoding."""
    readers = (reader for reader in graph.descendants(op) if reader.is_kind("attention", "recurrent", "softmax"))
    yield from dict.fromkeys(path for reader in readers for path in reader.modules if path)


def _added(graph: Graph, op: Op) -> _Table | None:
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


def _rotated(graph: Graph, op: Op) -> _Table | None:
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


def _varying(flow: AxisFlow, op: Op, table: Op, value: Op, *, wrong: Callable[[Dim], bool]) -> _Table | None:
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
    return _Table(op, table, value, at[0], free[0]) if at and free and not others else None


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
