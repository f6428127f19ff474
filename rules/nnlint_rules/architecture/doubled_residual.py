"""ARC026: a residual sum of a tensor with itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import Graph, Op

_COPIES = ("identity", "cast", "dropout")


@rule("ARC026", "doubled-residual", level="warning", since="0.1")
def check(graph: Graph) -> Iterator[Finding]:
    """A sum that adds a tensor to itself where a residual sum is meant.

    ## What it does
    Reports an addition whose two summands are the same value (also through dropout, a cast or a clone). A product with a
    constant (`2 * x`) says what it means and is left alone, and so is a sum with a transposed, flipped or sliced self.

    ## Why is this bad?
    `out + out` is a factor of two: the skip connection is missing, gradients have no short way, and the scale doubles with each
    block. `x + x` loses the branch's result.

    ## Example
        out = self.conv2(F.relu(self.conv1(x)))
        return F.relu(out + out)

    ## Use instead
        return F.relu(out + x)

    ## References
    - He et al., 2016, arXiv:1512.03385, equation 1
    """
    for op in graph.calls("add"):
        summands = _summands(op, graph)
        if op.in_loss or len(summands) < 2 or not op.requires_grad:
            continue
        sources = [graph.producer(summand, through=_COPIES) for summand in summands]
        if sources[0] is sources[1] and not sources[0].is_kind("parameter", "buffer"):
            source = sources[0]
            yield Finding(
                at=op,
                message=f"{op.label} adds {source.label} to itself: a factor of two instead of a residual connection",
                evidence={"summand": source.label},
                fix="add the block's input to the branch's output (`out + x`); write `2 * x` where doubling is meant",
                modules=(source.module_path,) if source.module_path else (),
            )


def _summands(op: Op, graph: Graph) -> list[Op]:
    """The two tensors that are added; an operand that stands twice counts twice."""
    if op.name != "add":
        return []
    values = [*op.leading[:2], *([op.node.kwargs["other"]] if "other" in op.node.kwargs else [])]
    return [graph.of(value) for value in values if graph.holds(value)]
