"""Linear maps that compose to one: their widths, what may stand between them, and whether the width between restricts anything."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint import Graph, Op


#: Linear in evaluation: what stands between two maps without keeping them from being one.
_LINEAR = ("view", "identity", "cast", "dropout", "avg-pool", "batch-norm", "neg")


_SCALED = ("mul", "div", "add")


#: From a projection to the product that it is made for: heads are split, scaled, normalized and rotated.
_PROJECTED = ("view", "identity", "cast", "index", "concat", "norm", "mul", "div", "add", "neg", "elementwise")


@dataclass(frozen=True)
class Widths:
    """Features that a linear map takes for each output position, and how many it gives."""

    inputs: int
    outputs: int
    kernel: tuple[int, ...]
    grouped: bool
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
    return seconds if widths and _is_redundant(before, widths) else ()


def _readers(first: Op, graph: Graph) -> tuple[tuple[Op, ...], bool]:
    """The linear maps that read the value, and whether a batch norm stands between; none where anything else reads it too."""
    seconds: list[Op] = []
    waiting, normed = [first], False
    while waiting:
        op = waiting.pop()
        if op in graph.outputs or not op.users:
            return (), False
        for user in op.users:
            if user.in_loss or _data(user) is not op:
                return (), False
            if user.is_kind("linear-map"):
                seconds.append(user)
            elif user.is_kind(*_LINEAR) or (user.is_kind(*_SCALED) and _is_scale(user)):
                normed = normed or user.is_kind("batch-norm")
                waiting.append(user)
            else:
                return (), False
    return tuple(sorted(dict.fromkeys(seconds), key=lambda op: op.index)), normed


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
    reached = sum(second.outputs * (math.prod(second.kernel) if pointwise or second.spreads else 1) for second in seconds)
    return first.outputs >= min(first.inputs, reached) and first.outputs > 1


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
    return Widths(shape[1] * area, shape[0], kernel, grouped=grouped)


def makes_a_map(chain: list[Op]) -> bool:
    """Whether a dense layer makes the map that a convolution spreads, as decoders start: one dense layer for both would be larger."""
    first, second = widths_of(chain[0]), widths_of(chain[1])
    return len(chain) == 2 and first is not None and second is not None and not first.kernel and bool(second.kernel)
