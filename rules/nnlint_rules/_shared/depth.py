"""Chains of layers through the depth of a model: how a measured number develops along them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint import Graph, Op

#: Ops whose output has a scale of its own, whatever came in.
RESCALING = (
    "norm",
    "softmax",
    "log-softmax",
    "embedding",
    "recurrent",
    "attention",
    "input",
    "random",
    "factory",
    "loss",
)
_GATES = ("saturating", "softmax")
_SCALING = ("mul", "div")


@dataclass(frozen=True)
class Link:
    """One layer of a chain with the number measured at it."""

    op: Op
    value: float


@dataclass(frozen=True)
class Chain:
    """Layers in execution order and how their number develops from the first to the last."""

    links: tuple[Link, ...]

    @property
    def first(self) -> Link:
        """The layer nearest the input."""
        return self.links[0]

    @property
    def last(self) -> Link:
        """The layer nearest the output."""
        return self.links[-1]

    @property
    def total(self) -> float:
        """Last over first."""
        return self.last.value / self.first.value

    @property
    def rate(self) -> float:
        """The factor that each layer contributes: total^(1/L) for L layers, the first one's own input being of scale 1."""
        return float(self.total ** (1.0 / len(self.links)))

    @property
    def factors(self) -> tuple[float, ...]:
        """The factor of every step."""
        return tuple(after.value / before.value for before, after in zip(self.links, self.links[1:], strict=False))

    @property
    def paths(self) -> tuple[str, ...]:
        """Module paths of the layers, each once."""
        return tuple(dict.fromkeys(link.op.module_path for link in self.links if link.op.module_path))

    @property
    def is_of_one_step(self) -> bool:
        """Whether more than half of the change, in logarithms, is that of one layer: one that starts at almost zero, say."""
        steps = [abs(math.log(factor)) for factor in self.factors if factor > 0.0]
        return bool(steps) and max(steps) > 0.5 * abs(math.log(self.total))

    def share(self, holds: Callable[[float], bool]) -> float:
        """Share of the steps whose factor has a property."""
        return sum(map(holds, self.factors)) / len(self.factors)


Measure = Callable[["Op"], "float | None"]


class Depth:
    """Walks a graph back from layer to layer along the path that carries most of what is measured.

    Where paths meet (residual sums, concatenations), the input with the greatest measured number is followed; a gate is left
    aside. Layers are linear maps and sums of two activations.

    Args:
        graph: the graph.
        measure: the number at an op; None where it was not measured.
        barriers: kinds of ops that end a chain.
    """

    def __init__(self, graph: Graph, measure: Measure, *, barriers: Iterable[str]) -> None:
        self._graph = graph
        self._measure = measure
        self._barriers = tuple(barriers)
        self._upstream: dict[Op, Op | None] = {}

    def chains(self) -> Iterator[Chain]:
        """Every chain that no other continues, unless it shares its first layers with a longer one. Longest first."""
        layers = [op for op in self._graph.ops if is_layer(op) and self._measure(op) is not None and not op.in_loss]
        continued = {above for op in layers if (above := self.upstream(op)) is not None}
        ends = [op for op in layers if op not in continued]
        found = sorted((self.back_from(op) for op in ends), key=lambda ops: -len(ops))
        taken: set[Op] = set()
        for ops in found:
            own = [op for op in ops if op not in taken]
            taken.update(own)
            if len(own) > 1:
                yield Chain(tuple(self.links(own)))

    def back_from(self, op: Op) -> list[Op]:
        """The chain that ends at this layer, in execution order."""
        ops = [op]
        while (above := self.upstream(ops[-1])) is not None:
            ops.append(above)
        return ops[::-1]

    def upstream(self, op: Op) -> Op | None:
        """The layer before this one, or None where the chain begins."""
        if op not in self._upstream:
            self._upstream[op] = self._search(op)
        return self._upstream[op]

    def _search(self, op: Op) -> Op | None:
        current = self._carrier(op)
        while current is not None and not current.is_kind(*self._barriers):
            if is_layer(current) and self._measure(current) is not None:
                return current
            current = self._carrier(current)
        return None

    def _carrier(self, op: Op) -> Op | None:
        """The input that carries most of the op's output; what carries no gradient (coordinates) does so only alone."""
        inputs = tuple(above for above in op.activations if above.requires_grad) or op.activations
        if len(inputs) < 2:
            return inputs[0] if inputs else None
        if op.is_kind("mul", "matmul"):
            return next((above for above in inputs if not above.is_kind(*_GATES)), inputs[0])
        return max(inputs, key=lambda above: self._nearest(above) or 0.0)

    def _nearest(self, op: Op) -> float | None:
        """What was measured at the op or at the nearest op before it; None after an op that scales, which hides it."""
        for current in self._graph.chain_back(op):
            found = self._measure(current)
            if found is not None:
                return found
            if current.is_kind(*_SCALING):
                return None
        return None

    def links(self, ops: Sequence[Op]) -> Iterator[Link]:
        """Layers with their numbers; a sum right after a linear map (a bias added by hand) stands for both."""
        for position, op in enumerate(ops):
            following = ops[position + 1] if position + 1 < len(ops) else None
            if (
                following is not None
                and op.is_kind("linear-map")
                and following.input is op
                and following.is_kind("add")
            ):
                continue
            value = self._measure(op)
            yield Link(op, value if value is not None else math.nan)


def is_layer(op: Op) -> bool:
    """A linear map, or a sum of two activations."""
    return op.is_kind("linear-map") or (op.name == "add" and len(op.activations) > 1)


def is_residual(op: Op) -> bool:
    """A sum of two activations one of which was made from the other's source: both come from one place upstream."""
    return op.name == "add" and len(op.activations) > 1


def one_per_module(links: Iterable[Link]) -> tuple[Link, ...]:
    """Of layers applied several times (recurrent cells, shared blocks) only the last call, in execution order."""
    kept: dict[Hashable, Link] = {}
    for link in reversed(tuple(links)):
        key: Hashable = link.op.parameters or (link.op.module_path, link.op.call_location)
        kept.setdefault(key, link)
    return tuple(reversed(kept.values()))
