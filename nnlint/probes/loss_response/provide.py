"""Provides `LossResponse`: the loss of the training pass, called on chosen outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from nnlint.capture.walks import labels_among_inputs
from nnlint.finding import Skip
from nnlint.probes.loss_response.caller import loss_caller
from nnlint.probes.loss_response.probe import measure_response
from nnlint.probes.loss_response.stats import LossResponse
from nnlint.samples import sample_count

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op
    from nnlint.probes.session import Session


def provide(session: Session) -> LossResponse:
    """How the loss answers to right, wrong, shifted and scaled outputs.

    Raises:
        Skip: there is no loss to call.
    """
    losses = session.evidence("LossCalls").require_result()
    made = session.training_pass
    if made.output is None and session.setup.own_loss is None:
        raise Skip("the loss was not computed in the training pass")

    def run() -> LossResponse:
        with torch.no_grad():
            labels = labels_among_inputs(losses.graph)
            caller = loss_caller(session.setup, made.output, seed=session.plan.seed, labels=labels)
            brief = any(op.in_loss and op.is_kind("linear-map") for op in losses.graph.ops)
            samples = sample_count(session.setup)
            return measure_response(caller, samples, losses.op, bounded=_bounded(losses.graph), brief=brief)

    found: LossResponse = session.measure("loss probe", run, reads_only=True)
    return found


def _bounded(graph: Graph) -> frozenset[int]:
    """Which of the model's output tensors an op holds in [0, 1]."""
    heads = [graph.producer(op) for op in graph.outputs]
    return frozenset(place for place, head in enumerate(heads) if head.range == (0.0, 1.0) or _is_clamped(head))


def _is_clamped(op: Op) -> bool:
    return op.is_kind("clamp") and op.argument("min") is not None and op.argument("max") is not None
