"""Evidence `InputScaling`: what a model's own arithmetic makes of its inputs before the first layer, by constants alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor, fx

from nnlint.capture.loss_call import AtOp
from nnlint.finding import Skip

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op
    from nnlint.probes.session import Session

_SHIFTING, _SCALING = ("add", "sub"), ("mul", "div")
_PASSING = ("view", "identity", "cast", "index", "resample")
_LAYERS = ("linear-map", "recurrent")


@dataclass(frozen=True)
class ScaledInput(AtOp):
    """An input after the arithmetic that the model does on it.

    Attributes:
        name: of the input, as the graph has it.
        op: the last operation before the layer.
        layer: the layer with weights that reads the result.
        is_standardizing: whether something is subtracted (or added) and something divides (or multiplies).
        mean, std, largest: of the result; `largest` is its largest magnitude.
    """

    name: str
    op: Op
    layer: Op
    is_standardizing: bool
    mean: float
    std: float
    largest: float


@dataclass(frozen=True)
class InputScaling:
    """Inputs that the model shifts or scales by constants before its first layer; empty where it does not."""

    inputs: tuple[ScaledInput, ...] = ()


@dataclass
class _Measure:
    """Observer: mean, deviation and largest magnitude of what sums and products return."""

    found: dict[fx.Node, tuple[float, float, float]] = field(default_factory=dict)

    def __call__(self, node: fx.Node, output: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if node.meta["name"] in (*_SHIFTING, *_SCALING) and output.is_floating_point() and output.numel() > 1:
            values = output.detach().double()
            self.found[node] = (float(values.mean()), float(values.std()), float(values.abs().max()))


def provide(session: Session) -> InputScaling:
    """Run the model once more where its graph shows such arithmetic.

    Raises:
        Skip: the inputs are made up, or nothing is run on real values.
    """
    setup = session.setup
    if setup.inputs is None or setup.inputs_assumed:
        raise Skip("needs a real batch; nnlint generated the inputs")
    session.evidence("EvalStats")
    if not any(True for _ in _chains(session.evidence("Graph"))):
        return InputScaling()

    def run() -> InputScaling:
        from nnlint.probes.evaluation.first_difference import Run, recorded

        measured = _Measure()
        graph = recorded(setup, Run(setup.inputs, session.plan.seed, setup.model.eval), measured)
        return InputScaling(tuple(_scaled(graph, measured)))

    found: InputScaling = session.measure("inputs after the model's arithmetic", run, reads_only=True)
    return found


def _scaled(graph: Graph, measured: _Measure) -> Iterator[ScaledInput]:
    for source, op, layer, names in _chains(graph):
        if op.node in measured.found:
            standardizes = not names.isdisjoint(_SHIFTING) and not names.isdisjoint(_SCALING)
            yield ScaledInput(source.label, op, layer, standardizes, *measured.found[op.node])


def _chains(graph: Graph) -> Iterator[tuple[Op, Op, Op, frozenset[str]]]:
    """(input, last operation, layer, names of the operations) wherever an input reaches a layer by constant arithmetic alone."""
    given = frozenset(graph.inputs)
    for source in graph.inputs:
        waiting = [(source, source, frozenset[str]())]
        seen = set()
        while waiting:
            op, last, names = waiting.pop()
            for user in op.users:
                if user in seen:
                    continue
                seen.add(user)
                if user.is_kind(*_LAYERS) and user.parameters and names and user.activations[:1] == (op,):
                    yield source, last, user, names
                elif user.is_kind(*_PASSING):
                    waiting.append((user, last, names))
                elif user.name in (*_SHIFTING, *_SCALING) and _is_by_constants(user, op, given, graph):
                    waiting.append((user, user, names | {user.name}))


def _is_by_constants(op: Op, source: Op, given: frozenset[Op], graph: Graph) -> bool:
    """Whether what is added to a value, or what it is multiplied by, is no matter of the inputs, and not learned."""
    others = [other for other in op.inputs if other is not source]
    above = {found for other in others for found in (other, *graph.ancestors(other))}
    return source in op.inputs and given.isdisjoint(above) and not any(other.requires_grad for other in others)
