"""Samples that depend on the largest or smallest value of the batch: only the sample that holds it has any part in the others.

Replacing the first sample shows nothing where another one holds the extreme, so that each is put first in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from nnlint.probes.dependence.by_sample import INFLUENCE, Look
from nnlint.probes.dependence.shifts import softmax_removes
from nnlint.probes.dependence.under_noise import is_random
from nnlint.probes.evaluation.first_difference import Difference
from nnlint.samples import batch_axis, with_first_sample_replaced
from nnlint.tensors import map_tensors

if TYPE_CHECKING:
    import torch

    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op
    from nnlint.probes.session import Session

#: Ops whose result is an entry of their input, or says where it stands.
_EXTREMES = frozenset(
    {"max", "min", "amax", "amin", "aminmax", "median", "nanmedian", "quantile", "nanquantile", "kthvalue"}
)


def extreme_over_samples(graph: Graph) -> Op | None:
    """The first op outside the loss that takes the extreme of values of several samples."""
    flow = graph.axis_flow
    for op, axes in flow.values():
        if op.in_loss or op.name not in _EXTREMES or not op.inputs:
            continue
        given = flow.of(op.inputs[0]).dims
        if any(map(flow.has_batch, given)) and not any(map(flow.has_batch, axes.dims)):
            return op
    return None


def extreme_place(graph: Graph) -> Difference | None:
    """Where samples get to depend on each other, if replacing one of them showed no place: the op that takes the extreme."""
    op = extreme_over_samples(graph)
    return Difference(op, graph) if op is not None else None


def by_extremes(
    graph: Graph,
    session: Session,
    evaluate: Callable[[Any], list[torch.Tensor]],
    compare: Callable[[list[torch.Tensor], list[torch.Tensor]], Look],
) -> tuple[Look, Op] | None:
    """The largest change of the other samples, each sample put first and replaced in turn, and the op that takes the extreme.

    Args:
        graph: of the training pass.
        session: whose batch is run.
        evaluate: one forward in evaluation mode.
        compare: how much the samples after the first differ in two outputs.

    Returns:
        None where no op takes an extreme over the samples, a softmax removes it, evaluation is random, or nothing changes.
    """
    op = extreme_over_samples(graph)
    if op is None or is_random(session) or softmax_removes(op, graph):
        return None
    looks = []
    for first in range(1, session.samples):
        turned = map_tensors(partial(_turned, samples=session.samples, by=first), session.batch_inputs)
        replaced = with_first_sample_replaced(turned, session.samples)
        if replaced is not None:
            looks.append(compare(evaluate(turned), evaluate(replaced)))
    found = max(looks, key=lambda look: look.influence, default=None)
    return (found, op) if found is not None and found.influence > INFLUENCE else None


def _turned(tensor: torch.Tensor, samples: int, by: int) -> torch.Tensor:
    axis = batch_axis(tensor, samples)
    return tensor if axis is None else tensor.roll(-by, dims=axis)
