"""Walks over the operations of a graph. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op


def reached(ops: Iterable[Op], step: Callable[[Op], Iterable[Op]]) -> frozenset[Op]:
    """What one step or more lead to from any of `ops`."""
    seen: set[Op] = set()
    waiting = [found for op in ops for found in step(op)]
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting.extend(step(current))
    return frozenset(seen)


def labels_among_inputs(graph: Graph) -> frozenset[str]:
    """Names of the inputs that a loss inside the model's own code compares predictions with.

    Such an input reaches the loss past all layers. One that goes through layers as well (teacher forcing) counts where it holds
    whole numbers: real ones may be added to a prediction on their way. Masks only choose.
    """
    if graph.loss is None:
        return frozenset()
    upstream = graph.ancestors(graph.loss) | {graph.loss}

    def past_layers(op: Op) -> Iterable[Op]:
        return (user for user in op.users if user in upstream and not user.parameters)

    found = set()
    for given in graph.inputs:
        if given.dtype == "bool" or "mask" in given.label or graph.loss not in reached([given], past_layers):
            continue
        if given.dtype.startswith("int") or not any(user.parameters for user in graph.descendants(given)):
            found.add(given.label)
    return frozenset(found)
