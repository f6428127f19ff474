"""Outputs with as many rows as the batch has samples, whose rows are something else: a mean over the batch where steps were meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nnlint.probes.dependence.by_sample import INFLUENCE, Look
from nnlint.probes.dependence.outputs import relative_difference
from nnlint.probes.evaluation.first_difference import Difference
from nnlint.samples import batch_layout, sample_count, with_first_sample_replaced
from nnlint.tensors import shape_of, tensors_in

if TYPE_CHECKING:
    import torch

    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op
    from nnlint.probes.session import Session

Shapes = tuple[tuple[int, ...], ...]


def rows_are_no_samples(session: Session, outputs: Sequence[torch.Tensor], fewer: Callable[[], Shapes]) -> bool:
    """Whether the loss compares rows of the outputs with the targets of samples, and no output has fewer rows for fewer samples.

    Args:
        session: whose batch was run, or the first samples of it.
        outputs: of that run.
        fewer: gives the shapes of the outputs for one sample fewer, none where the batch cannot be cut.
    """
    setup, count = session.setup, session.samples
    whole = sample_count(setup)
    targets = () if setup.targets_assumed else tuple(tensors_in(setup.targets))
    if not outputs or not targets or any(shape_of(target)[:1] != (whole,) for target in targets):
        return False
    shapes = tuple(tuple(tensor.shape) for tensor in outputs)
    if any(shape[:1] != (whole,) for shape in shapes):
        return False
    if count < whole:
        return not any(count in shape for shape in shapes)
    return fewer() == shapes


def of_all_rows(base: list[torch.Tensor], changed: list[torch.Tensor]) -> Look:
    """The comparison where no row is a sample's own."""
    return Look(constant=False, influence=relative_difference(base, changed), pairwise=False)


def where_samples_end(graph: Graph) -> Difference | None:
    """The first op before the loss that reads values of each sample and gives one without samples; None where none is known."""
    flow = graph.axis_flow
    for op, axes in flow.values():
        held = any(any(map(flow.has_batch, flow.of(source).dims)) for source in op.inputs)
        if held and not op.in_loss and axes.data and axes.known and op.shape and not any(map(flow.has_batch, axes.dims)):
            return Difference(op, graph)
    return None


def second_axis_is_mixed(
    session: Session, base: list[torch.Tensor], evaluate: Callable[[Any], list[torch.Tensor]]
) -> bool:
    """Whether the first axis of the inputs holds the samples for certain: rows of the outputs are no entries of the second either.

    Args:
        session: whose batch was run.
        base: its outputs.
        evaluate: one forward in evaluation mode.
    """
    if batch_layout(session.setup).settled or session.evidence("Graph").axis_flow.batch_is_certain:
        return True
    other = with_first_sample_replaced(session.batch_inputs, session.samples, axis=1)
    if other is None:
        return False
    changed = evaluate(other)
    return relative_difference([tensor[1:] for tensor in base], [tensor[1:] for tensor in changed]) > INFLUENCE


def takes_one_sample(graph: Graph, op: Op) -> bool:
    """Whether the op takes one entry along the samples (ARC031 says so)."""
    return any(graph.axis_flow.is_batch(taken.dim) for taken in graph.axes(op).selected)
