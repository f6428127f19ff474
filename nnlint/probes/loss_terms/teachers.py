"""Finds networks whose answers others are drawn to, and which learn nothing but to agree with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlint.kinds import DISTANCE_LOSSES

if TYPE_CHECKING:
    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op

_SUMS = ("add", "sub", "rsub", "neg", "mean", "sum", "stack")
_MAPS = ("linear-map", "recurrent", "attention")


@dataclass(frozen=True)
class Teacher:
    """A comparison of a network's answer with that of another network, which is trained by such comparisons alone."""

    op: Op
    teacher: Op


def teachers(graph: Graph) -> Iterator[Teacher]:
    """One comparison for each network that only learns to agree with what is compared with it (no teacher under no_grad)."""
    if graph.loss is None:
        return
    end = graph.loss
    upstream = graph.ancestors(end) | {end}
    groups: dict[frozenset[Op], list[Teacher]] = defaultdict(list)
    for op in graph.ops:
        pair = _drawn_together(op) if op in upstream and op.requires_grad else None
        if pair is None or not all(side.requires_grad for side in pair):
            continue
        own, theirs = (_trained_by(graph, side) for side in pair)
        if own and theirs and own.isdisjoint(theirs) and _is_network(graph, pair[1]) and _is_added(graph, op, upstream):
            groups[theirs].append(Teacher(op, pair[1]))
    for theirs, found in groups.items():
        if not _reaches(theirs, end, frozenset(one.op for one in found)):
            yield found[0]


def compared(op: Op) -> tuple[Op, Op] | None:
    """Both sides of a comparison: a loss function's, or those of a difference that is squared or made absolute."""
    if op.name in DISTANCE_LOSSES and len(op.activations) >= 2:
        return op.activations[0], op.activations[1]
    if op.name in ("pow", "square", "abs") and op.activations and op.activations[0].name == "sub":
        sides = op.activations[0].activations
        return (sides[0], sides[1]) if len(sides) == 2 else None
    return None


def _drawn_together(op: Op) -> tuple[Op, Op] | None:
    """Answer and target of a distance, a cosine, or a cross-entropy between two distributions."""
    distance = compared(op)
    if distance is not None or op.name in ("cosine_similarity", "pairwise_distance"):
        return distance or ((op.activations[0], op.activations[1]) if len(op.activations) == 2 else None)
    if op.name != "mul" or len(op.activations) != 2:
        return None
    one, other = op.activations
    if one.is_kind("unit-norm") and other.is_kind("unit-norm"):
        return one, other
    for said, taught in ((one, other), (other, one)):
        if said.is_kind("log-softmax") and taught.is_kind("softmax"):
            return said, taught
    return None


def _trained_by(graph: Graph, op: Op) -> frozenset[Op]:
    """The parameters that an answer depends on, those that no module of the model holds among them."""
    return frozenset(part for part in graph.ancestors(op) if not part.inputs and part.requires_grad)


def _is_network(graph: Graph, op: Op) -> bool:
    """Whether layers made it of the data: a table of codes or of centres is trained by its distance to what is near."""
    maps = [part for part in (op, *graph.ancestors(op)) if part.is_kind(*_MAPS)]
    return any(part.is_kind("input", "unknown") and not part.requires_grad for part in graph.above(maps))


def _is_added(graph: Graph, op: Op, upstream: frozenset[Op]) -> bool:
    """Whether the loss adds the op's value, averaged and weighed by numbers: no label says which pairs belong together."""
    return all(
        step.name in _SUMS or step.is_kind("view", "identity", "cast") or (step.name in ("mul", "div") and len(step.inputs) == 1)
        for step in graph.descendants(op) & upstream
        if step is not op
    )


def _reaches(sources: frozenset[Op], end: Op, without: frozenset[Op]) -> bool:
    """Whether the loss depends on any of the sources in another way than through these ops."""
    seen: set[Op] = set(without)
    waiting = list(sources)
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        if current is end:
            return True
        seen.add(current)
        waiting.extend(current.users)
    return False
