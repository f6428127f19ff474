"""What the initialization rules share: layers with their weights, and the plain stacks they form."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlint import Place
from nnlint.kinds import VALUE_PRESERVING
from nnlint_rules._shared.words import paths

if TYPE_CHECKING:
    from nnlint import ForwardStats, Graph, Op, Parameters, ParameterView

#: Between two layers of a plain stack: no normalization, no sum, no product, no concatenation.
_PLAIN = VALUE_PRESERVING | {"activation", "pool", "clamp"}


@dataclass(frozen=True)
class Layer:
    """A linear map of the graph that reads its weight directly, with the activation after it.

    Attributes:
        op: the call.
        weight: its weight parameter.
        activation: the activation its output goes to, None where something else comes first (a norm, a sum, the loss).
    """

    op: Op
    weight: ParameterView
    activation: Op | None

    @property
    def place(self) -> Place:
        """The layer at the line that built it; a parameter of the model itself at the line that uses it."""
        built = self.weight.location if self.op.module_path and self.op.module_path == self.weight.module_path else None
        return Place(self.op.module_path, built or self.op.location)

    @property
    def fan_in(self) -> int:
        """Connections into a unit."""
        return self.weight.fan_in or 1

    @property
    def gain(self) -> float:
        """Weight deviation times the square root of the fan-in: 1 for LeCun, sqrt(2) for He initialization."""
        return self.weight.std * math.sqrt(self.fan_in)

    @property
    def is_depthwise(self) -> bool:
        """Whether every filter has an input channel of its own, so that equal filters are no symmetry."""
        groups = self.op.argument("groups", 1)
        return isinstance(groups, int) and groups > 1 and len(self.weight.shape) > 2 and self.weight.shape[1] == 1


def layers(graph: Graph, parameters: Parameters) -> tuple[Layer, ...]:
    """All linear maps whose weight is a parameter itself, in execution order; the first call of each weight."""
    found: dict[str, Layer] = {}
    for op in graph.calls("linear-map"):
        weight = _weight_of(op, parameters)
        if weight is not None and weight.name not in found:
            found[weight.name] = Layer(op, weight, activation_behind(graph, op))
    return tuple(found.values())


def _weight_of(op: Op, parameters: Parameters) -> ParameterView | None:
    """The weight the op reads; None where it is computed (weight norm, scaled at run time) or has no fan."""
    views = (parameters.find(name) for name in op.parameters)
    return next((view for view in views if view is not None and view.kind == "weight" and view.fan_in), None)


def bias_of(layer: Layer, parameters: Parameters) -> ParameterView | None:
    """The bias that the layer adds, None where it has none."""
    views = (parameters.find(name) for name in layer.op.parameters)
    return next((view for view in views if view is not None and view.kind == "bias"), None)


def activation_behind(graph: Graph, op: Op) -> Op | None:
    """The single activation that reads the op's output, through views and pooling."""
    users = graph.consumers(op, through=VALUE_PRESERVING | {"pool"})
    return users[0] if len(users) == 1 and users[0].is_kind("activation") else None


def stacks(graph: Graph, found: Iterable[Layer]) -> Iterator[tuple[Layer, ...]]:
    """Maximal runs of layers with only activations, pooling, dropout and views between them."""
    by_op = {layer.op: layer for layer in found}
    above: dict[Op, Op] = {}
    for op in by_op:
        if op.activations:
            source = graph.producer(op.activations[0], through=_PLAIN)
            if source in by_op and source is not op:
                above.setdefault(op, source)
    continued = set(above.values())
    for op in by_op:
        if op in continued:
            continue
        run = [op]
        while run[-1] in above:
            run.append(above[run[-1]])
        yield tuple(by_op[member] for member in reversed(run))


def layers_below(op: Op) -> tuple[Op, ...]:
    """The next linear maps downstream on every path."""
    found: dict[int, Op] = {}
    waiting, seen = list(op.users), set()
    while waiting:
        user = waiting.pop()
        if user in seen:
            continue
        seen.add(user)
        if user.is_kind("linear-map"):
            found[user.index] = user
        else:
            waiting.extend(user.users)
    return tuple(found[index] for index in sorted(found))


def sample_signal(forward: ForwardStats, op: Op) -> float | None:
    """Standard deviation of the op's output that comes from the samples, not from the biases."""
    stats = forward.of(op)
    if stats is None or not stats.finite:
        return None
    return stats.std * stats.sample_spread if stats.sample_spread is not None else stats.std


def input_rms(forward: ForwardStats, op: Op) -> float | None:
    """Root mean square of what the op reads, as far back as something was measured."""
    stats = forward.of(op)
    before = forward.before(stats) if stats is not None else None
    return before.rms if before is not None and before.finite else None


def covered(found: Iterable[Layer]) -> tuple[str, ...]:
    """The module paths of layers and of the activations after them, where dead or saturated units show."""
    return paths(op for layer in found for op in (layer.op, layer.activation) if op is not None)
