"""Hidden saturating activations that follow each other with nothing between that rescales."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint import ForwardStats, Op


#: What a chain passes on its way from one saturating activation to the next.
_BETWEEN = ("linear-map", "view", "identity", "cast", "dropout", "index", "pool", "reduce", "neg", "concat", "resample")


def chains(forward: ForwardStats) -> Iterator[list[Op]]:
    """Longest chains of hidden saturating activations, in execution order."""
    graph = forward.graph
    before_layers = graph.above(op for op in graph.calls("linear-map") if not op.in_loss)
    saturating = [op for op in graph.calls("saturating") if not op.in_loss]
    hidden = dict.fromkeys(op for op in saturating if op in before_layers and not _is_gate(op))
    above = {op: _previous(op, hidden) for op in hidden}
    continued = set(above.values())
    ends = [op for op in hidden if op not in continued]
    for end in ends:
        chain = [end]
        while (before := above[chain[-1]]) is not None:
            chain.append(before)
        layers = {_layer_before(op) for op in chain}
        if len(chain) > 1 and len(layers) == len(chain):  # the same layer again is a step in time, not in depth
            yield chain[::-1]


def _layer_before(op: Op) -> Hashable:
    """What tells the layer that feeds an activation from others: its weights, or its place in the source."""
    current = op.activations[0] if op.activations else op
    while not current.is_kind("linear-map") and current.activations:
        current = current.activations[0]
    return current.parameters or (current.module_path, current.call_location)


def _previous(op: Op, hidden: Container[Op]) -> Op | None:
    """The saturating activation before this one, with at least one linear map and nothing that rescales between."""
    current = op.activations[0] if op.activations else None
    passed = 0
    while current is not None and (current not in hidden or not passed):
        if not (current.is_kind(*_BETWEEN) or (current.name == "add" and len(current.activations) == 1)):
            return None
        passed += current.is_kind("linear-map")
        current = current.activations[0] if current.activations else None
    return current


def _is_gate(op: Op) -> bool:
    """Whether the output scales another value."""
    return any(
        user.is_kind("mul", "matmul", "merge", "compare") and len(user.activations) > 1 for user in _consumers(op)
    )


def _consumers(op: Op) -> list[Op]:
    found, waiting = [], list(op.users)
    while waiting:
        user = waiting.pop()
        if user.is_kind("view", "identity", "cast", "index", "resample") or user.name in ("sub", "rsub"):
            waiting.extend(user.users)
        found.append(user)
    return found
