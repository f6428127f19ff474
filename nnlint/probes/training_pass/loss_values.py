"""What the loss functions of a recorded run were given: kept while it ran, or known because it is an output or a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from nnlint.probes.training_pass.losses import MeasuredLoss
from nnlint.tensors import tensor_leaves

if TYPE_CHECKING:
    from torch import fx

    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op
    from nnlint.capture.recorder import Recorder
    from nnlint.probes.training_pass.collector import Collector

#: Ops that keep the values in their order.
_RESHAPES = (
    "view",
    "reshape",
    "flatten",
    "unflatten",
    "squeeze",
    "unsqueeze",
    "contiguous",
    "view_as",
    "reshape_as",
    "ravel",
)


def measured_losses(
    graph: Graph, recorder: Recorder, collector: Collector | None, ends: tuple[Any, Any]
) -> tuple[MeasuredLoss, ...]:
    """The loss functions that the loss depends on, with the tensors they were given where there are values.

    Args:
        graph: the graph of the run.
        recorder: what recorded it.
        collector: what kept values meanwhile; None where there were none.
        ends: the model's output and the targets.
    """
    if collector is None:
        return tuple(MeasuredLoss(call.op) for call in graph.loss_calls)
    kept = {found.node: found for found in collector.losses}
    tensors = (tensor for _, tensor in tensor_leaves(ends))
    known = {node: tensor.detach() for tensor in tensors if (node := recorder.nodes.bindings.find(tensor)) is not None}
    made = []
    for call in graph.loss_calls:
        given = kept.get(call.op.node)
        if given is not None:
            made.append(MeasuredLoss(call.op, given.prediction, given.target, given.value, given.others))
        else:  # written out
            prediction, target = _value_of(call.prediction, known), _value_of(call.target, known)
            made.append(MeasuredLoss(call.op, prediction, target))
    return tuple(made)


def _value_of(op: Op | None, known: dict[fx.Node, torch.Tensor]) -> torch.Tensor | None:
    """The value of an op that is known, or only shaped in another way since."""
    shape = op.shape if op is not None else None
    dtype = getattr(torch, op.dtype, None) if op is not None else None
    while op is not None and op.node not in known and op.activations:
        if not (op.name in _RESHAPES or op.is_kind("identity", "cast")):
            break
        op = op.activations[0]
    value = known.get(op.node) if op is not None else None
    if value is None or shape is None:
        return None
    return (value if dtype is None else value.to(dtype)).reshape(shape)
