"""ARC031: the last step is taken along the batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule

if TYPE_CHECKING:
    from nnlint import Dim, Graph, Op, OpAxes, Picked


@rule("ARC031", "last-step-of-wrong-axis", level="warning", since="0.2")
def check(graph: Graph) -> Iterator[Finding]:
    """The last (or first) step of a sequence is taken along the batch or the layers.

    ## What it does
    Looks at every single entry that is taken from the output or the state of a recurrent or attention layer and reports one
    that is taken along the axis of the samples: `out[-1]` where the batch comes first, `out[:, -1]` where time does,
    `h_n[:, -1]`, `out[-1:]`, the last of `out.unbind(0)`, and `out[lengths - 1, rows]`, where lengths and rows have changed
    places. The same for `h_n[0]` of several layers, which is the state of the lowest one. The axis of the samples is known by the
    targets, the loader, a convolution over it, or by what the layer itself takes for samples. Loops over all samples, and entries
    that reach neither an output nor the loss, are left alone.

    ## Why is this bad?
    One sample stands for the whole batch, and what should be its steps are taken for samples: the outputs of the others are lost. With
    as many steps as samples, or a loss that broadcasts, nothing raises.

    ## Example
        out, _ = self.rnn(x)  # batch_first=True
        return self.head(out[-1])

    ## Use instead
        out, _ = self.rnn(x)
        return self.head(out[:, -1])

    ## References
    - https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html
    """
    if graph.method == "symbolic":
        raise Skip("needs shapes, but the model did not run")
    flow = graph.axis_flow
    for op, axes in flow.values():
        if op.in_loss or not op.inputs or len(_whole(op).shape or ()) < 3:
            continue
        source = _whole(op)
        if (swapped := _swapped(graph, axes, source)) is not None and _counts(graph, op):
            yield _of_lengths(op, source, *swapped)
        for part in axes.selected:
            if _is_samples(graph, part.dim, source) and _is_step_of_sequence(graph, op, source):
                yield _of_batch(graph, op, part.index, part.entry)
            elif part.entry == 0 and not part.kept and _is_lowest_layer(graph, op, source, part.index):
                yield _of_layers(op, part.index)


def _whole(op: Op) -> Op:
    """The value that an entry is taken of; of `x.unbind()` x."""
    source = op.inputs[0]
    return source.input if source.name == "unbind" and source.input is not None else source


def _swapped(graph: Graph, axes: OpAxes, source: Op) -> tuple[Picked, Picked] | None:
    """Two tensors of indices, where that of the samples depends on the batch and that of the steps does not: in each other's place."""
    if len(axes.picked) != 2:
        return None
    one, other = axes.picked
    if not _is_samples(graph, one.dim, source):
        one, other = other, one
    mixed_up = graph.axes(one.by).data and not graph.axes(other.by).data and one.by.dtype != "bool"
    if not mixed_up or not _is_samples(graph, one.dim, source) or graph.axis_flow.has_batch(other.dim):
        return None
    return (one, other) if _is_sequence(graph, source) else None


def _of_lengths(op: Op, source: Op, samples: Picked, steps: Picked) -> Finding:
    shape = source.shape or ()
    return Finding(
        at=op,
        message=f"{samples.by.label} picks along the batch (axis {samples.index} of {shape}) and {steps.by.label} along the steps "
        f"(axis {steps.index}): each sample gets an entry of another one",
        evidence={"shape": list(shape), "axis": samples.index},
        fix="put the indices of the steps in the place of the steps: x[torch.arange(len(x)), lengths - 1]",
    )


def _of_batch(graph: Graph, op: Op, index: int, entry: int) -> Finding:
    source = _whole(op)
    dims = graph.axes(source).dims
    shape = source.shape or ()
    free = [at for at, dim in enumerate(dims[:-1]) if at != index and dim]
    layers = bool(free) and graph.axis_flow.describe(dims[free[0]]) == "layer"
    right = free[0] if free else 1 - min(index, 1)
    places = ", ".join([*[":"] * right, str(entry)])
    return Finding(
        at=op,
        message=f"entry {entry} is taken along the batch (axis {index} of {shape}): one sample of {shape[index]} is used, "
        f"and axis {right} ({'layers' if layers else 'steps'}) is taken for samples",
        evidence={"shape": list(shape), "axis": index, "entry": entry},
        fix=f"take it along axis {right}: x[{places}]",
    )


def _of_layers(op: Op, index: int) -> Finding:
    shape = op.inputs[0].shape or ()
    return Finding(
        at=op,
        message=f"entry 0 of the state {shape} is that of the lowest of {shape[index]} layers: the layers above are not used",
        evidence={"shape": list(shape), "axis": index, "entry": 0},
        fix="take the last layer: h_n[-1]",
    )


def _is_samples(graph: Graph, dim: Dim, source: Op) -> bool:
    """Whether a dimension holds the samples: known to, or taken for them by the layer that the value comes from."""
    flow = graph.axis_flow
    if not flow.is_batch(dim) or flow.batch_is_certain:
        return flow.is_batch(dim)
    layers = (op for op in graph.ancestors(source) | {source} if graph.axes(op).steps is not None)
    nearest = max(layers, key=lambda op: op.index, default=None)
    steps = graph.axes(nearest).steps if nearest is not None else None
    return steps is not None and steps.samples == dim


def _is_step_of_sequence(graph: Graph, op: Op, source: Op) -> bool:
    """Whether the only entry taken of a layer's sequence or state, and one that counts."""
    taken = {
        (part.index, part.entry)
        for user in op.inputs[0].users
        for part in graph.axes(user).selected
        if user.name == op.name
    }
    return len(taken) == 1 and _is_sequence(graph, source) and source.requires_grad and _counts(graph, op)


def _is_sequence(graph: Graph, source: Op) -> bool:
    """Whether a recurrent or attention layer has had part in the value."""
    above = graph.ancestors(source) | {source}
    return any(graph.axes(found).steps is not None or found.is_kind("recurrent", "attention") for found in above)


def _counts(graph: Graph, op: Op) -> bool:
    """Whether the loss or an output depends on the op."""
    ends = [*graph.outputs, *([graph.loss] if graph.loss is not None else [])]
    return any(graph.reaches(op, end) for end in ends)


def _is_lowest_layer(graph: Graph, op: Op, source: Op, index: int) -> bool:
    """Whether the op takes the first of several layers from the state of a layer that reads one way, and nothing else is used of it."""
    dims = graph.axes(source).dims
    maker = source.input if source.name == "getitem" else None
    if index != 0 or maker is None or not maker.is_kind("recurrent") or graph.axis_flow.describe(dims[0]) != "layer":
        return False
    one_way = (maker.shape or ())[-1:] == (source.shape or ())[-1:]
    parts = [user for user in maker.users if user is not source]
    return one_way and set(source.users) == {op} and not parts and _counts(graph, op)
