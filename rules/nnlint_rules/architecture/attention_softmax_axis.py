"""ARC027: attention that is normalized over the wrong axis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule

if TYPE_CHECKING:
    from nnlint import Declared, Graph, Op

#: What stands between scores and softmax, and keeps the scores' axes.
_SCORING = ("mul", "div", "add", "merge", "dropout", "identity", "cast", "clamp")
_PRODUCTS = frozenset({"matmul", "bmm", "mm", "baddbmm"})
_DECLARED = frozenset({"slot-attention", "query-normalized"})


@rule("ARC027", "attention-softmax-axis", level="warning", since="0.1")
def check(graph: Graph, declared: Declared) -> Iterator[Finding]:
    """Attention scores normalized over one axis and summed over another.

    ## What it does
    Follows a softmax of scores (a product of two activations, scaled and masked) to the product with the values, keeping track of
    its axis through transpositions, and reports where the axis that the product sums over is not the one that the softmax
    normalized. Slot attention, which normalizes over queries and divides by the sum, is another form and is left alone, as is
    what is declared with `declared={"slot-attention"}`; linear attention takes softmax of queries and keys, not of scores.

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
        raise Skip("no shapes: the model did not run")
    if not declared.traits.isdisjoint(_DECLARED):
        return
    for op in graph.calls("softmax"):
        rank = len(op.shape or ())
        dim = op.argument("dim")
        if rank < 2 or not isinstance(dim, int) or op.in_loss or not _is_of_scores(op, graph):
            continue
        for product, summed in _products(op, rank):
            if summed != dim % rank:
                yield Finding(
                    at=op,
                    message=f"{op.label} normalizes the scores over axis {dim % rank}, and {product.label} sums them over axis {summed}: "
                    f"the weights of an output do not add up to one (scores {list(op.shape or ())})",
                    evidence={"softmax_axis": dim % rank, "summed_axis": summed, "shape": list(op.shape or ())},
                    fix=f"softmax(..., dim={summed - rank})",
                    modules=(product.module_path,) if product.module_path else (),
                )
                break


def _is_of_scores(op: Op, graph: Graph) -> bool:
    """Whether the softmax is of a product of two activations, scaled and masked."""
    current = op.activations[0] if op.activations else None
    while current is not None and current.is_kind(*_SCORING) and current.activations:
        current = max(current.activations, key=lambda above: (above.requires_grad, len(graph.ancestors(above))))
    return current is not None and current.is_kind("matmul") and len(current.activations) > 1


def _products(op: Op, rank: int) -> Iterator[tuple[Op, int]]:
    """Products that take the softmax as a factor, with the axis of the softmax that each sums over."""
    waiting: list[tuple[Op, tuple[int, ...]]] = [(op, tuple(range(rank)))]
    while waiting:
        current, axes = waiting.pop()
        for user in current.users:
            if user.name in _PRODUCTS:
                summed = _summed(user, current, axes)
                if summed is not None:
                    yield user, summed
            elif (moved := _moved(user, axes)) is not None:
                waiting.append((user, moved))


def _summed(product: Op, factor: Op, axes: tuple[int, ...]) -> int | None:
    """The axis of the softmax that a matrix product sums over."""
    factors = product.inputs[1:] if product.name == "baddbmm" else product.inputs
    if len(factors) != 2 or factors[0] is factors[1] or len(axes) < 2:
        return None
    return axes[-1] if factors[0] is factor else axes[-2]


def _moved(op: Op, axes: tuple[int, ...]) -> tuple[int, ...] | None:
    """Where the softmax's axes are after `op`; None where that cannot be said."""
    if op.is_kind("dropout", "identity", "cast") or op.name == "contiguous":
        return axes
    rank = len(axes)
    if op.name in {"transpose", "swapaxes", "swapdims"}:
        dims = [value for value in op.leading[1:3] if isinstance(value, int)] or [
            value for value in (op.argument("dim0"), op.argument("dim1")) if isinstance(value, int)
        ]
        if len(dims) != 2:
            return None
        order = list(axes)
        order[dims[0]], order[dims[1]] = order[dims[1]], order[dims[0]]
        return tuple(order)
    if op.name == "permute":
        given = op.leading[1:]
        if len(given) == 1 and isinstance(given[0], (list, tuple)):
            given = tuple(given[0])
        valid = len(given) == rank and all(isinstance(dim, int) for dim in given)
        return tuple(axes[dim] for dim in given) if valid else None
    if op.name in {"mT", "T", "t"}:
        return (*axes[:-2], axes[-1], axes[-2])
    return None
