"""ARC027: attention that is normalized over the wrong axis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule
from nnlint_rules.architecture._attention_products import axes_of, is_of_scores, products

if TYPE_CHECKING:
    from nnlint import Declared, Dim, Graph, Op

#: Roles of axes that the weights of a layer make.
_MADE = ("feature", "channel")
_DECLARED = frozenset({"slot-attention", "query-normalized"})


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
        for product, summed in products(graph, op):
            if place not in places and _is_wrong(graph, op, along[0].dim, summed):
                places.add(place)  # one line that runs for every layer is one fault
                yield _finding(graph, op, product, summed)
                break


def _finding(graph: Graph, op: Op, product: Op, summed: Dim) -> Finding:
    dims = graph.axes(op).dims
    at = graph.axes(op).along[0].index
    other = next(place for place, dim in enumerate(dims) if axes_of(dim) & axes_of(summed))
    return Finding(
        at=op,
        message=f"{op.label} normalizes the scores over axis {at}, and {product.label} sums them over axis {other}: "
        f"the weights of an output do not add up to one (scores {list(op.shape or ())})",
        evidence={"softmax_axis": at, "summed_axis": other, "shape": list(op.shape or ())},
        fix=f"softmax(..., dim={other - len(dims)})",
        modules=(product.module_path,) if product.module_path else (),
    )


def _is_wrong(graph: Graph, op: Op, normalized: Dim, summed: Dim) -> bool:
    """Whether the product sums over an axis of the scores that the softmax left alone."""
    if normalized and all(digit.is_whole and digit.axis.role in _MADE for digit in normalized):
        return False  # what a layer makes of each position are clusters, not other positions
    given = frozenset(axis for dim in graph.axes(op).dims for axis in axes_of(dim))
    known = bool(summed) and axes_of(summed) <= given and graph.axes(op).known
    return (
        known and not (axes_of(normalized) & axes_of(summed)) and is_of_scores(graph, op, axes_of(summed), axes_of(normalized))
    )
