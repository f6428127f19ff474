"""Linear maps in a row at the ends of a network, where they cost a layer and no depth that anyone counts on."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from nnlint_rules.architecture._linear_runs import widths_of

if TYPE_CHECKING:
    from nnlint import Graph, Op

_MOVED = ("view", "identity", "cast", "dropout", "index")
_NONLINEAR = ("activation", "pool", "norm", "softmax", "recurrent", "attention")


def is_an_end(chain: list[Op], graph: Graph, *, several: bool) -> bool:
    """Whether the maps stand at an end of the network.

    Args:
        chain: maps one after the other, or with `several` one map and those that read it.
        graph: that they are in.
        several: whether the maps after the first all read that.
    """
    if several:
        return _is_a_trunk(chain[0], graph) and all(_is_a_head(op, graph) for op in chain[1:])
    pairs = list(itertools.pairwise(chain))
    return (
        _makes_a_map(chain)
        or all(_is_narrow(first, second, graph) for first, second in pairs)
        or (len(chain) == 2 and _are_class_vectors(chain[0], chain[1], graph))
    )


def _makes_a_map(chain: list[Op]) -> bool:
    """Whether a dense layer makes the map that a convolution spreads, as decoders start: one dense layer for both would be larger."""
    first, second = widths_of(chain[0]), widths_of(chain[1])
    return len(chain) == 2 and first is not None and second is not None and not first.kernel and bool(second.kernel)


def _is_a_trunk(first: Op, graph: Graph) -> bool:
    """Whether layers with something nonlinear between lead to the map."""
    above = graph.ancestors(first)
    return any(op.is_kind("linear-map") for op in above) and any(op.is_kind(*_NONLINEAR) for op in above)


def _is_a_head(op: Op, graph: Graph) -> bool:
    """Whether the value is returned, compared in the loss, or the moment of a draw, before another layer reads it."""
    waiting, seen = [op], {op}
    while waiting:
        current = waiting.pop()
        drawn = any(graph.axes(other).random and not graph.axes(other).data for other in current.inputs)
        if current in graph.outputs or current.in_loss or (drawn and current.is_kind("mul", "add")):
            return True
        for user in current.users:
            if user not in seen and not user.is_kind("linear-map", "norm", "recurrent", "attention"):
                seen.add(user)
                waiting.append(user)
    return False


def _is_narrow(first: Op, second: Op, graph: Graph) -> bool:
    """Whether one is a square 1 x 1 convolution of the code between an encoder and a decoder."""
    before, after = widths_of(first), widths_of(second)
    if before is None or after is None or not before.kernel or not after.kernel:
        return False
    if math.prod(after.kernel) == 1 and after.inputs == after.outputs and before.channels > before.outputs:
        return True
    given = graph.producer(first.activations[0], through=_MOVED) if first.activations else first
    begins = not given.is_kind(*_NONLINEAR)
    return math.prod(before.kernel) == 1 and before.inputs == before.outputs < after.outputs and begins


def _are_class_vectors(first: Op, second: Op, graph: Graph) -> bool:
    """Whether the second map scores an embedding: it has no bias, the first has one, and the scores are returned."""
    with_bias = [op.argument("bias") is not None for op in (first, second)]
    return with_bias == [True, False] and _is_a_trunk(first, graph) and _is_a_head(second, graph)
