"""ARC027: attention that is normalized over the wrong axis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule

if TYPE_CHECKING:
    from nnlint import Axis, AxisFlow, Declared, Dim, Graph, Op

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
#: Roles of axes that the weights of a layer make.
_MADE = ("feature", "channel")
_DECLARED = frozenset({"slot-attention", "query-normalized"})
_DEPTH = 40  # ops looked at on the way back from a softmax to its scores


@rule("ARC027", "attention-softmax-axis", level="error", since="0.1")
def check(graph: Graph, declared: Declared) -> Iterator[Finding]:
    """Attention scores normalized over one axis and summed over another.

    ## What it does
    Follows the axes of attention scores, which are made of two values (queries and keys: by matmul, `bmm`, `einsum`, or a sum of
    both as in additive attention), through softmax to the product with the values, whatever permutes, views and heads lie
    between. Reports where the axis that the product sums over is not the one that the softmax normalized. Slot attention, which
    normalizes over queries and divides by the sum, is another form and is left alone, as is what is declared with
    `declared={"slot-attention"}`; so are softmaxes of something else than scores (pooling to clusters, linear attention, routing).

    ## Why is this bad?
    The weights that are summed do not add up to one: each output is no average of the values, and with square score matrices
    nothing raises.

    ## Example
        weights = F.softmax(q @ k.transpose(-2, -1) / d ** 0.5, dim=-2)
        return weights @ v

    ## Use instead
        weights = F.softmax(q @ k.transpose(-2, -1) / d ** 0.5, dim=-1)

    ## References
    - Vaswani et al., 2017, arXiv:1706.03762, equation 1
    """
    if graph.method == "symbolic":
        raise Skip("needs shapes, but the model did not run")
    if not declared.traits.isdisjoint(_DECLARED):
        return
    places: set[object] = set()
    for op in graph.calls("softmax"):
        along = graph.axes(op).along
        if len(along) != 1 or not along[0].dim or op.in_loss:
            continue
        place = op.call_location or op.index
        for product, summed in _products(graph, op):
            if place not in places and _is_wrong(graph, op, along[0].dim, summed):
                places.add(place)  # one line that runs for every layer is one fault
                yield _finding(graph, op, product, summed)
                break


def _finding(graph: Graph, op: Op, product: Op, summed: Dim) -> Finding:
    dims = graph.axes(op).dims
    at = graph.axes(op).along[0].index
    other = next(place for place, dim in enumerate(dims) if _axes(dim) & _axes(summed))
    return Finding(
        at=op,
        message=f"{op.label} normalizes the scores over axis {at}, and {product.label} sums them over axis {other}: "
        f"the weights of an output do not add up to one (scores {list(op.shape or ())})",
        evidence={"softmax_axis": at, "summed_axis": other, "shape": list(op.shape or ())},
        fix=f"softmax(..., dim={other - len(dims)})",
        modules=(product.module_path,) if product.module_path else (),
    )


def _axes(dim: Dim) -> frozenset[Axis]:
    return frozenset(digit.axis for digit in dim)


def _is_wrong(graph: Graph, op: Op, normalized: Dim, summed: Dim) -> bool:
    """Whether the product sums over an axis of the scores that the softmax left alone."""
    if normalized and all(digit.is_whole and digit.axis.role in _MADE for digit in normalized):
        return False  # what a layer makes of each position are clusters, not other positions
    given = frozenset(axis for dim in graph.axes(op).dims for axis in _axes(dim))
    known = bool(summed) and _axes(summed) <= given and graph.axes(op).known
    return (
        known and not (_axes(normalized) & _axes(summed)) and _is_of_scores(graph, op, _axes(summed), _axes(normalized))
    )


def _products(graph: Graph, op: Op) -> Iterator[tuple[Op, Dim]]:
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


def _is_of_scores(graph: Graph, op: Op, keys: frozenset[Axis], normalized: frozenset[Axis]) -> bool:
    """Whether the softmax is of scores: something upstream joins a value that has the keys with one that has the queries."""
    waiting, seen = list(op.activations), set(op.activations)
    while waiting and len(seen) < _DEPTH:
        current = waiting.pop(0)
        out = frozenset(axis for dim in graph.axes(current).dims for axis in _axes(dim))
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
    held = [frozenset(axis for dim in flow.of(source).dims for axis in _axes(dim)) for source in op.inputs]
    if any(_is_twin(axis, other) for axis in keys for other in out):
        return True
    owners = [number for number, axes in enumerate(held) if keys & axes]
    return len(owners) == 1 and any((axes - held[owners[0]]) & out for axes in held)


def _is_twin(one: Axis, other: Axis) -> bool:
    return other is not one and (
        other.twin == one.key or one.twin == other.key or (one.twin is not None and one.twin == other.twin)
    )
