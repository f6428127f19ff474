"""Outputs and targets whose rows are flattened in different orders: time by time and sample by sample."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level

if TYPE_CHECKING:
    from nnlint import Digit, Dim, Graph, Op


def mispaired(graph: Graph) -> Iterator[Finding]:
    """Losses that compare rows of one order with targets of another."""
    flow = graph.axis_flow
    if flow.batch is None:
        return
    for loss in (*graph.calls("loss"), *(op for op in graph.ops if op.in_loss and op.name == "sub")):
        if len(loss.inputs) < 2:
            continue
        output, target = loss.inputs[:2]
        turned = _turned(graph, loss, output, target)
        if turned is not None and output.requires_grad:
            yield _of_axes(loss, output, *turned)
            continue
        rows, labels = graph.axes(output).dims[:1], graph.axes(target).dims[:1]
        if not rows or not labels:
            continue
        places = [_place(graph, dim) for dim in (*rows, *labels)]
        if None in places or places[0] == places[1] or not output.requires_grad or _is_moved(rows[0], labels[0]):
            continue
        yield _finding(graph, loss, _flattened(graph, output, rows[0]), rows[0], labels[0])


def _turned(graph: Graph, loss: Op, output: Op, target: Op) -> tuple[int, int] | None:
    """Axes of the samples in outputs and targets, the axis of the classes aside, where they differ; None where they agree."""
    flow = graph.axis_flow
    given, wanted = list(graph.axes(output).dims), list(graph.axes(target).dims)
    if loss.name in ("cross_entropy", "nll_loss") and len(given) == len(wanted) + 1:
        del given[1]
    if len(given) != len(wanted) or len(given) < 2:
        return None
    places = [[at for at, dim in enumerate(dims) if flow.has_batch(dim)] for dims in (given, wanted)]
    alone = all(len(at) == 1 and flow.is_batch(dims[at[0]]) for at, dims in zip(places, (given, wanted), strict=True))
    if not alone or places[0] == places[1]:
        return None
    one, other = places[0][0], places[1][0]
    return (one, other) if given[other] and wanted[one] else None  # else each is spread over the other: every pair of samples


def _of_axes(loss: Op, output: Op, given: int, wanted: int) -> Finding:
    shape, targets = output.shape or (), loss.inputs[1].shape or ()
    at = given + (given > 0 and len(shape) > len(targets))
    return Finding(
        at=output,
        level=Level.ERROR,
        message=f"{loss.label} takes outputs of shape {shape} with the batch along axis {at} and targets of shape {targets} with it "
        f"along axis {wanted}: predictions are compared with the targets of other samples",
        evidence={"outputs": list(shape), "targets": list(targets), "output_axis": at, "target_axis": wanted},
        fix="bring the batch first before the loss: stack the steps along axis 1 (`torch.stack(steps, 1)`), or transpose(0, 1)",
        modules=tuple(path for path in (output.module_path, loss.module_path) if path),
    )


def _place(graph: Graph, dim: Dim) -> int | None:
    """How far apart the samples lie in a dimension of several axes; None where they are not whole in it, or alone."""
    flow = graph.axis_flow
    own = [at for at, digit in enumerate(dim) if flow.is_batch((digit,))]
    if len(own) != 1 or len(dim) < 2:
        return None
    return math.prod(digit.size for digit in dim[own[0] + 1 :])


def _is_moved(rows: Dim, labels: Dim) -> bool:
    """Whether one holds pieces of a batch that was given in several copies: how these are numbered is anyone's choice."""
    return any(digit.axis.role == "piece" for digit in (*rows, *labels))


def _flattened(graph: Graph, output: Op, rows: Dim) -> Op:
    """The view that merged the rows."""
    while output.input is not None and output.is_kind("view", "identity", "cast"):
        before = graph.axes(output.input).dims
        if not any(dim == rows for dim in before):
            return output
        output = output.input
    return output


def _finding(graph: Graph, loss: Op, view: Op, rows: Dim, labels: Dim) -> Finding:
    flow = graph.axis_flow
    source = view.input if view.input is not None else view
    where = next((at for at, dim in enumerate(graph.axes(source).dims) if flow.is_batch(dim)), None)
    turned = f"transpose(0, {where})" if where else "permute"
    return Finding(
        at=view,
        level=Level.ERROR,
        message=f"{view.label} orders the rows of {loss.label} by {_words(graph, rows)}, its targets by {_words(graph, labels)}: "
        "predictions are compared with the targets of other samples",
        evidence={"from": list(source.shape or ()), "to": list(view.shape or ())},
        fix=f"{turned} the outputs before they are flattened, so that both have the batch first",
        modules=tuple(path for path in (view.module_path, loss.module_path) if path),
    )


def _words(graph: Graph, dim: Dim) -> str:
    flow = graph.axis_flow
    names = [_word(flow.describe((digit,)), digit) for digit in dim]
    return ", then ".join(names)


def _word(name: str, digit: Digit) -> str:
    return f"an axis of {digit.size}" if name in ("axis", "unknown") else name
