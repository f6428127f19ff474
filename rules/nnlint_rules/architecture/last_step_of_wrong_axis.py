"""ARC031: the last step is taken along the batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule
from nnlint_rules.architecture._sequence_steps import (
    counts,
    is_lowest_layer,
    is_samples,
    is_step_of_sequence,
    swapped_indices,
    taken_from,
)

if TYPE_CHECKING:
    from nnlint import Graph, Op, Picked


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
        if op.in_loss or not op.inputs or len(taken_from(op).shape or ()) < 3:
            continue
        source = taken_from(op)
        if (swapped := swapped_indices(graph, axes, source)) is not None and counts(graph, op):
            yield _of_lengths(op, source, *swapped)
        for part in axes.selected:
            if is_samples(graph, part.dim, source) and is_step_of_sequence(graph, op, source):
                yield _of_batch(graph, op, part.index, part.entry)
            elif part.entry == 0 and not part.kept and is_lowest_layer(graph, op, source, part.index):
                yield _of_layers(op, part.index)


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
    source = taken_from(op)
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
