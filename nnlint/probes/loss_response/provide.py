"""Provides `LossResponse`: the loss of the training pass, called on chosen outputs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import fx

from nnlint.capture.walks import labels_among_inputs
from nnlint.finding import Skip
from nnlint.kinds import CLASS_LOSSES
from nnlint.probes.loss_response.caller import LossCaller, loss_caller
from nnlint.probes.loss_response.likelihood import likelihood
from nnlint.probes.loss_response.pairs import togetherness
from nnlint.probes.loss_response.probe import measure_response
from nnlint.probes.loss_response.stats import LossResponse
from nnlint.samples import sample_count
from nnlint.setup.inputs.names import named_inputs
from nnlint.tensors import is_dense

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op
    from nnlint.probes.session import Session

#: Weights of linear maps in a loss up to which it is called as often as any other.
_WINDOWS = 1


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
            inside = losses.op is not None and not losses.op.in_loss
            caller = loss_caller(session.setup, made.output, seed=session.plan.seed, labels=labels, inside=inside)
            # Else outputs and leaves do not correspond one to one (a distribution, a tensor that is returned twice).
            aligned = len(losses.graph.outputs) == len(caller.leaves)
            if not caller.free and aligned:
                caller = replace(caller, free=_free(losses.graph))
            brief = _runs_network(losses.graph)
            bounded = _bounded(losses.graph) if aligned else frozenset[int]()
            samples = sample_count(session.setup)
            scored = _makes_scores(losses.graph)
            response = measure_response(caller, samples, losses.op, bounded=bounded, brief=brief, scored=scored)
            response = response if aligned else replace(response, leaf=None)
            response = replace(response, likelihood=likelihood(caller, made.output, session.setup.targets))
            return response if brief or response.prefers_right else _with_pairs(response, caller, session)

    found: LossResponse = session.measure("loss probe", run, reads_only=True)
    return found


def _runs_network(graph: Graph) -> bool:
    """Whether the loss runs a network of its own (a critic, perceptual features); a window that a score slides over is none."""
    maps = [op for op in graph.ops if op.in_loss and op.is_kind("linear-map")]
    return len({op.leading[1] for op in maps if len(op.leading) > 1 and isinstance(op.leading[1], fx.Node)}) > _WINDOWS


def _with_pairs(response: LossResponse, caller: LossCaller, session: Session) -> LossResponse:
    given = [tensor for _, tensor in named_inputs(session.setup)] if session.setup.inputs is not None else []
    views = [tensor for tensor in given if is_dense(tensor) and tensor.dim()]
    return replace(response, pairs=togetherness(caller, views, coupled=bool(response.couples_samples)))


def _makes_scores(graph: Graph) -> bool:
    """Whether a layer, or trained weights, of the loss make the scores of the classes out of the output (ArcFace, proxies)."""
    outputs = set(graph.outputs)
    weights = {op for op in graph.ops if op.requires_grad and not op.inputs and op not in outputs}
    scores: set[Op] = set()
    for op in graph.ops:
        if not op.in_loss:
            continue
        if not outputs.isdisjoint(op.inputs):
            outputs.add(op)
            met = any(source in weights for source in op.inputs)
            if met or op.is_kind("linear-map") or not scores.isdisjoint(op.inputs):
                scores.add(op)
        elif not weights.isdisjoint(op.inputs):
            weights.add(op)
    calls = [call.prediction for call in graph.loss_calls if call.kind in CLASS_LOSSES]
    return bool(scores) and all(op is None or op in scores for op in calls)


def _bounded(graph: Graph) -> frozenset[int]:
    """Which of the model's output tensors an op holds in [0, 1]."""
    heads = [graph.producer(op) for op in graph.outputs]
    return frozenset(place for place, head in enumerate(heads) if head.range == (0.0, 1.0) or _is_clamped(head))


def _free(graph: Graph) -> frozenset[int]:
    """Which of the model's output tensors come straight from a linear map."""
    heads = [graph.producer(op) for op in graph.outputs]
    return frozenset(place for place, head in enumerate(heads) if head.is_kind("linear-map"))


def _is_clamped(op: Op) -> bool:
    return op.is_kind("clamp") and op.argument("min") is not None and op.argument("max") is not None
