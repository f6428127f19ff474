"""Linear maps that compose to one: their widths, what may stand between them, and whether the width between restricts anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint import Graph, Op


#: Linear in evaluation: what stands between two maps without keeping them from being one.
_LINEAR = ("view", "identity", "cast", "dropout", "avg-pool", "batch-norm", "neg")


_SCALED = ("mul", "div", "add")


#: Rows of a value for other rows, or sums of rows: how the layers of a graph pass messages on.
_GATHERED = frozenset({"index_select", "scatter_add", "index_add"})


#: From a projection to the product that it is made for: heads are split, scaled, normalized and rotated.
_PROJECTED = ("view", "identity", "cast", "index", "concat", "norm", "mul", "div", "add", "neg", "elementwise")


@dataclass(frozen=True)
class Widths:
    """Features that a linear map takes for each output position, and how many it gives."""

    inputs: int
    outputs: int
    kernel: tuple[int, ...]
    grouped: bool
    channels: int = 0  # of a convolution: inputs of one position
    spreads: bool = False  # a transposed convolution: each position makes a whole patch


def composed_after(first: Op, graph: Graph) -> tuple[Op, ...]:
    """The linear maps that `first` composes with, where its value goes nowhere else; empty where it is needed."""
    before = widths_of(first)
    if before is None or first.in_loss or not _is_trained(first):
        return ()
    seconds, normed = _readers(first, graph)
    if normed and before.kernel and math.prod(before.kernel) == 1:
        return ()  # a linear bottleneck: 1 x 1 projection and batch norm, then the next block
    widths = [found for second in seconds if (found := widths_of(second)) is not None]
    if len(widths) < len(seconds) or not all(map(_is_trained, seconds)):
        return ()
    if len(seconds) > 1 and any(_is_compared(second, graph) for second in seconds):
        return ()
    if len(seconds) == 1 and before.outputs < before.inputs and _is_adapter(first, seconds[0], graph):
        return ()
    return seconds if widths and _is_redundant(before, widths) else ()


def without_shared(following: Mapping[Op, tuple[Op, ...]]) -> dict[Op, tuple[Op, ...]]:
    """The runs without those into a layer that several others feed: one map for each pair would no longer share it.

    The head of a pyramid reads each level through a convolution of the level's own.
    """
    sources: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for first, seconds in following.items():
        for second in seconds:
            sources.setdefault(second.parameters, set()).add(first.parameters)
    return {
        first: seconds
        for first, seconds in following.items()
        if all(len(sources[second.parameters]) == 1 for second in seconds)
    }


def _readers(first: Op, graph: Graph) -> tuple[tuple[Op, ...], bool]:
    """The linear maps that read the value, and whether a batch norm stands between; none where anything else reads it too."""
    seconds: list[Op] = []
    waiting, normed = [first], False
    while waiting:
        op = waiting.pop()
        if op in graph.outputs or not op.users:
            return (), False
        for user in op.users:
            if _reads_shape(user, op, graph):
                continue
            if not user.in_loss and _passes_rows(user, op, graph):
                waiting.append(user)
                continue
            if user.in_loss or _data(user) is not op or user.name == "pixel_shuffle":
                return (), False
            if user.is_kind("linear-map"):
                seconds.append(user)
            elif user.is_kind(*_LINEAR) or (user.is_kind(*_SCALED) and _is_scale(user)):
                normed = normed or user.is_kind("batch-norm")
                waiting.append(user)
            else:
                return (), False
    return tuple(sorted(dict.fromkeys(seconds), key=lambda op: op.index)), normed


def _reads_shape(user: Op, op: Op, graph: Graph) -> bool:
    """Whether the user takes only the shape or the type of `op`: `x.new_zeros(...)`, `index.expand_as(x)`."""
    return not graph.axes(user).data or (user.name.endswith("_as") and user.inputs[0] is not op)


def _passes_rows(user: Op, op: Op, graph: Graph) -> bool:
    """Whether the user takes and sums rows of `op` by what is given, such as an adjacency matrix, and leaves each row's features."""
    if user.is_kind("linear-map") or any(source.requires_grad for source in user.inputs if source is not op):
        return False
    if user.is_kind("matmul"):
        parts = [part for part in graph.axes(user).contracted if op in (part.left_op, part.right_op)]
        features = graph.axes(op).dims[-1:]
        return bool(parts) and all((part.left if part.left_op is op else part.right,) != features for part in parts)
    if user.is_kind("mul"):
        return list(user.inputs).count(op) == 1 and any((source.shape or ())[-1:] == (1,) for source in user.inputs)
    return user.name in _GATHERED and any(_is_given(source, graph) for source in user.inputs if source is not op)


def _is_given(op: Op, graph: Graph) -> bool:
    """Whether these are edges, of the batch or a buffer, and no constant."""
    return graph.producer(op, through=("view", "identity", "cast", "index", "concat")).is_kind("input", "buffer")


def _is_adapter(first: Op, second: Op, graph: Graph) -> bool:
    """Whether the pair is added to another linear map of the same value: a low-rank update."""
    scaled = (*_LINEAR, "mul", "div")
    sums = graph.consumers(second, through=scaled)
    source = graph.producer(first.activations[0], through=_LINEAR) if first.activations else None
    beside = [
        graph.producer(part, through=_LINEAR)
        for user in sums
        if user.is_kind("add")
        for part in user.activations
        if graph.producer(part, through=scaled) is not second
    ]
    return bool(beside) and all(
        part.is_kind("linear-map") and source in [graph.producer(above, through=_LINEAR) for above in part.activations]
        for part in beside
    )


def _is_trained(op: Op) -> bool:
    """Whether the matrix is learned: a fixed transform (cosines, mel filters, a frozen projection) is no second layer."""
    given = op.activations[0] if op.activations else None
    return any(source.requires_grad for source in op.inputs if source is not given)


def _is_compared(op: Op, graph: Graph) -> bool:
    """Whether the value goes into a product of activations: queries, keys and values are projections of one thing."""
    return any(
        user.is_kind("matmul", "attention", "softmax") and not user.is_kind("linear-map")
        for user in graph.consumers(op, through=_PROJECTED)
    )


def _is_scale(op: Op) -> bool:
    """Whether one operand alone carries the signal: `h * h` is no scale."""
    first = op.activations[0] if op.activations else None
    return len(op.activations) == 1 and first is not None and list(op.leading).count(first.node) < 2


def _data(op: Op) -> Op | None:
    return op.activations[0] if op.activations else None


def _is_redundant(first: Widths, seconds: list[Widths]) -> bool:
    """Whether the width between restricts nothing: it is no smaller than what goes in, or than all that comes out of it."""
    if first.grouped or any(second.grouped for second in seconds):
        return False
    if any(_is_line(first.kernel) and _is_line(second.kernel) and first.kernel != second.kernel for second in seconds):
        return False  # 1 x k and k x 1: a factorisation of space
    # A position that a 1 x 1 convolution makes is read at each place of the next kernel.
    pointwise = math.prod(first.kernel) == 1 and bool(first.kernel)
    reached = sum(
        second.outputs * (math.prod(second.kernel) if pointwise or second.spreads else 1) for second in seconds
    )
    # Two kernels larger than 1 are no factorisation unless there are fewer channels between them than before.
    kernels = all(math.prod(part.kernel) > 1 and not part.spreads for part in (first, *seconds))
    least = min(first.channels if kernels else first.inputs, reached)
    return first.outputs >= least and first.outputs > 1


def _is_line(kernel: tuple[int, ...]) -> bool:
    return len(kernel) > 1 and sum(extent > 1 for extent in kernel) == 1


def widths_of(op: Op) -> Widths | None:
    """The widths of a linear map whose weight is known; None for others."""
    if op.is_kind("matmul"):
        matrix = next((above for above in op.inputs[1:] if above.is_kind("parameter")), None)
        sides = matrix.shape if matrix is not None else None
        return Widths(sides[-2], sides[-1], (), grouped=False) if sides is not None and len(sides) == 2 else None
    weight = op.argument("weight")
    shape = getattr(weight, "shape", None)
    if shape is None or len(shape) < 2 or op.name == "bilinear":
        return None
    grouped = op.argument("groups", 1) != 1
    kernel = tuple(shape[2:])
    area = math.prod(kernel)
    if op.is_kind("conv-transpose"):
        return Widths(shape[0] * area, shape[1], kernel, grouped=grouped, spreads=True)
    return Widths(shape[1] * area, shape[0], kernel, grouped=grouped, channels=shape[1])
