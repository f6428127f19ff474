"""Whether the axis along which samples were compared holds the samples: what nothing tells apart may just as well be time first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nnlint.probes.dependence.by_sample import INFLUENCE
from nnlint.probes.dependence.outputs import relative_difference
from nnlint.samples import are_nodes, batch_layout, may_be_series, with_first_sample_replaced
from nnlint.tensors import tensors_in

if TYPE_CHECKING:
    import torch

    from nnlint.probes.session import Session


def is_settled(session: Session, base: list[torch.Tensor], evaluate: Callable[[Any], list[torch.Tensor]]) -> bool:
    """Whether the axis is that of the samples; an unsettled one is, too, where the axis after it is mixed as well.

    Args:
        session: whose batch was run.
        base: its outputs.
        evaluate: one forward in evaluation mode.
    """
    if batch_layout(session.setup).settled or session.evidence("Graph").axis_flow.batch_is_certain:
        return True
    other = with_first_sample_replaced(session.batch_inputs, session.samples, axis=1)
    if other is None:
        return not may_be_series(session.setup)
    second = next((shape[1] for tensor in tensors_in(session.batch_inputs) if len(shape := tensor.shape) > 1), 0)
    pairs = [
        (one.narrow(axis, 1, second - 1), two.narrow(axis, 1, second - 1))
        for one, two in zip(base, evaluate(other), strict=False)
        for axis in [_place_of(second, one)]
        if axis is not None and one.shape == two.shape
    ]
    return not pairs or relative_difference([one for one, _ in pairs], [two for _, two in pairs]) > INFLUENCE


def why_together(session: Session) -> str:
    """Why the samples depend on each other by design; empty where nothing says so."""
    graph = session.evidence("Graph")
    if are_nodes(session.batch_inputs, session.samples):
        return "the samples are the nodes of a graph, which depend on each other"
    if any(graph.is_one_sequence(op) for op in graph.ops):
        return "the samples are the steps of one sequence: a recurrent layer is given its state for one sample"
    return ""


def _place_of(size: int, output: torch.Tensor) -> int | None:
    """The first axis of that size after the leading one: classes may stand before the positions."""
    return next((axis for axis in range(1, output.dim()) if output.shape[axis] == size), None)
