"""Where evaluation mode turns a signal into zeros that training mode lets through: a dropout that then drops everything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from nnlint.probes.evaluation.first_difference import Run, recorded
from nnlint.probes.evaluation.train_eval_gap import training_without_noise
from nnlint.tensors import tensor_leaves

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op
    from nnlint.probes.session import Session


@dataclass
class _Zeros:
    """Observer: the nodes whose output is all zeros, and those that gave a number other than zero."""

    empty: list[fx.Node] = field(default_factory=list)
    filled: set[fx.Node] = field(default_factory=set)

    def __call__(self, node: fx.Node, output: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        floating = [tensor for _, tensor in tensor_leaves(output) if tensor.is_floating_point()]
        if not floating or any(tensor.layout is not torch.strided or not tensor.numel() for tensor in floating):
            return
        if any(bool(tensor.detach().any()) for tensor in floating):
            self.filled.add(node)
        else:
            self.empty.append(node)


def find_emptied(session: Session) -> Op | None:
    """The first op on the way from the inputs to the outputs that gives zeros in evaluation mode only; None where there is none."""

    def run() -> Op | None:
        setup, inputs, seed = session.setup, session.batch_inputs, session.plan.seed
        evaluated, trained = _Zeros(), _Zeros()
        graph = recorded(setup, Run(inputs, seed, setup.model.eval), evaluated)
        # Spikes: a neuron that is silent at one time step and not at the next is switched off by nobody.
        speaking = set(map(_place, evaluated.filled))
        evaluated.empty = [node for node in evaluated.empty if _place(node) not in speaking]
        if not evaluated.empty:
            return None
        in_training = recorded(setup, Run(inputs, seed, lambda: training_without_noise(setup.model)), trained)
        return _first(graph, evaluated, {graph.counterpart(in_training.of(node)) for node in trained.empty})

    found: Op | None = session.measure(
        "search for zeros in evaluation", run, reads_only=True, attempt="the forward does not take this batch in evaluation"
    )
    return found


def _place(node: fx.Node) -> tuple[Any, ...]:
    """What makes calls at several time steps the same one."""
    return node.meta["name"], node.meta.get("module_path"), node.meta.get("code_location")


def _first(graph: Graph, evaluated: _Zeros, everywhere: set[Op | None]) -> Op | None:
    """The first of them that is fed by the signal and is no output itself: a head that only training uses is switched off so."""
    given = frozenset(graph.inputs)
    before_outputs = graph.above(graph.outputs)
    carrying = _carrying(graph, given)
    for node in evaluated.empty:
        op = graph.of(node)
        if op.is_kind("factory", "random") or op not in before_outputs or op in everywhere:
            continue  # a mask of zeros is made first: what it multiplies is emptied
        if any(user in everywhere for user in op.users):
            continue  # training makes the same zeros by another path: spikes with a gradient of their own
        if any(source in carrying and (source in given or source.node in evaluated.filled) for source in op.inputs):
            return op
    return None


def _carrying(graph: Graph, given: frozenset[Op]) -> set[Op]:
    """The ops whose values depend on an input: the shape of one, which noise is drawn in, is no value."""
    carrying = set(given)
    for op in graph.ops:
        if not op.is_kind("factory", "random") and any(source in carrying for source in op.inputs):
            carrying.add(op)
    return carrying
