"""ARC030: positional encodings that vary along the batch or the heads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule
from nnlint_rules.architecture._position_tables import PositionTable, added, rotated

if TYPE_CHECKING:
    from nnlint import Graph, Mixing, Op

#: Largest change of the outputs by another order that is rounding (ARC021; docs/evidence/calibration.md).
_BLIND = 1e-5


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
        found = added(graph, op) or rotated(graph, op)
        place = op.call_location or op.index
        if found is not None and place not in places and _is_told(graph, mixing, found):
            places.add(place)  # one line that runs for every layer is one fault
            yield _finding(graph, found)


def _finding(graph: Graph, found: PositionTable) -> Finding:
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


def _is_told(graph: Graph, mixing: Mixing | None, found: PositionTable) -> bool:
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


def _has_a_row_for_each(graph: Graph, found: PositionTable) -> bool:
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
