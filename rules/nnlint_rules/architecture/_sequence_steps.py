"""Single entries taken from a sequence: of which value, along which axis, and whether the result counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint import Dim, Graph, Op, OpAxes, Picked


def taken_from(op: Op) -> Op:
    """The value that an entry is taken of; of `x.unbind()` x."""
    source = op.inputs[0]
    return source.input if source.name == "unbind" and source.input is not None else source


def swapped_indices(graph: Graph, axes: OpAxes, source: Op) -> tuple[Picked, Picked] | None:
    """Two tensors of indices, where that of the samples depends on the batch and that of the steps does not: in each other's place."""
    if len(axes.picked) != 2:
        return None
    one, other = axes.picked
    if not is_samples(graph, one.dim, source):
        one, other = other, one
    mixed_up = graph.axes(one.by).data and not graph.axes(other.by).data and one.by.dtype != "bool"
    if not mixed_up or not is_samples(graph, one.dim, source) or graph.axis_flow.has_batch(other.dim):
        return None
    return (one, other) if _is_sequence(graph, source) else None


def is_samples(graph: Graph, dim: Dim, source: Op) -> bool:
    """Whether a dimension holds the samples: known to, or taken for them by the layer that the value comes from."""
    flow = graph.axis_flow
    if not flow.is_batch(dim) or flow.batch_is_certain:
        return flow.is_batch(dim)
    layers = (op for op in graph.ancestors(source) | {source} if graph.axes(op).steps is not None)
    nearest = max(layers, key=lambda op: op.index, default=None)
    steps = graph.axes(nearest).steps if nearest is not None else None
    return steps is not None and steps.samples == dim


def is_step_of_sequence(graph: Graph, op: Op, source: Op) -> bool:
    """Whether the only entry taken of a layer's sequence or state, and one that counts."""
    taken = {
        (part.index, part.entry)
        for user in op.inputs[0].users
        for part in graph.axes(user).selected
        if user.name == op.name
    }
    return len(taken) == 1 and _is_sequence(graph, source) and source.requires_grad and counts(graph, op)


def _is_sequence(graph: Graph, source: Op) -> bool:
    """Whether a recurrent or attention layer has had part in the value."""
    above = graph.ancestors(source) | {source}
    return any(graph.axes(found).steps is not None or found.is_kind("recurrent", "attention") for found in above)


def counts(graph: Graph, op: Op) -> bool:
    """Whether the loss or an output depends on the op."""
    ends = [*graph.outputs, *([graph.loss] if graph.loss is not None else [])]
    return any(graph.reaches(op, end) for end in ends)


def is_lowest_layer(graph: Graph, op: Op, source: Op, index: int) -> bool:
    """Whether the op takes the first of several layers from the state of a layer that reads one way, and nothing else is used of it."""
    dims = graph.axes(source).dims
    maker = source.input if source.name == "getitem" else None
    if index != 0 or maker is None or not maker.is_kind("recurrent") or graph.axis_flow.describe(dims[0]) != "layer":
        return False
    one_way = (maker.shape or ())[-1:] == (source.shape or ())[-1:]
    parts = [user for user in maker.users if user is not source]
    return one_way and set(source.users) == {op} and not parts and counts(graph, op)
