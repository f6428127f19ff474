"""Attention from scores to the product with the values: which softmax is of scores, and over which axis its weights are summed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint import Axis, AxisFlow, Dim, Graph, Op


#: What stands between scores and softmax: scaling, masks, and what an additive attention makes of its sums.
_SCORING = (
    "mul",
    "div",
    "add",
    "sub",
    "merge",
    "dropout",
    "identity",
    "cast",
    "clamp",
    "view",
    "activation",
    "linear-map",
    "index",
)
#: What stands between weights and the product with the values.
_PASSING = ("dropout", "identity", "cast", "view")
_DEPTH = 40  # ops looked at on the way back from a softmax to its scores


def axes_of(dim: Dim) -> frozenset[Axis]:
    """The axes that a dimension is made of: two for batch and heads in one."""
    return frozenset(digit.axis for digit in dim)


def products(graph: Graph, op: Op) -> Iterator[tuple[Op, Dim]]:
    """Products that take the weights as a factor, with what each sums over: matmul, einsum, or a product and its sum."""
    waiting, seen = [op], {op}
    while waiting:
        current = waiting.pop()
        for user in current.users:
            if user in seen:
                continue
            seen.add(user)
            parts = graph.axes(user).contracted
            for part in parts:
                if part.right_op is not None and current in (part.left_op, part.right_op):
                    yield user, part.left if part.left_op is current else part.right
            if user.name == "mul" and len(user.activations) == 2:
                yield from _sums(graph, user)
            elif not parts and user.is_kind(*_PASSING):
                waiting.append(user)


def _sums(graph: Graph, product: Op) -> Iterator[tuple[Op, Dim]]:
    for user in product.users:
        along = graph.axes(user).along
        if user.name == "sum" and len(along) == 1 and user.requires_grad:
            yield user, along[0].dim


def is_of_scores(graph: Graph, op: Op, keys: frozenset[Axis], normalized: frozenset[Axis]) -> bool:
    """Whether the softmax is of scores: something upstream joins a value that has the keys with one that has the queries."""
    waiting, seen = list(op.activations), set(op.activations)
    while waiting and len(seen) < _DEPTH:
        current = waiting.pop(0)
        out = frozenset(axis for dim in graph.axes(current).dims for axis in axes_of(dim))
        if not keys | normalized <= out:
            continue  # here the axes are made, not compared
        if _joins(graph.axis_flow, current, keys, out):
            return True
        if current.is_kind(*_SCORING):
            above = [source for source in current.activations if source not in seen]
            seen.update(above)
            waiting.extend(above)
    return False


def _joins(flow: AxisFlow, op: Op, keys: frozenset[Axis], out: frozenset[Axis]) -> bool:
    """Whether the keys come from one input and another axis of the output from another."""
    if len(op.activations) < 1 or not any(axis.origin == "data" for axis in keys):
        return False
    held = [frozenset(axis for dim in flow.of(source).dims for axis in axes_of(dim)) for source in op.inputs]
    if any(_is_twin(axis, other) for axis in keys for other in out):
        return True
    owners = [number for number, axes in enumerate(held) if keys & axes]
    return len(owners) == 1 and any((axes - held[owners[0]]) & out for axes in held)


def _is_twin(one: Axis, other: Axis) -> bool:
    return other is not one and (
        other.twin == one.key or one.twin == other.key or (one.twin is not None and one.twin == other.twin)
    )
