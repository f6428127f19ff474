"""Positions of an input that strides skip, or leave over at its end: a subsampling, which ARC013 judges where it is none on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnlint_rules.architecture._windows import window_of

if TYPE_CHECKING:
    from nnlint import Graph, IgnoredFeatures, Op


def skipped_by_a_stride(features: IgnoredFeatures, graph: Graph) -> bool:
    """Whether the positions come again and again at a distance that some stride of the model divides."""
    steps = {step for op in graph.ops if not op.in_loss for step in _steps(op)}
    return any(
        _recurs(features, period)
        for period in range(2, features.size // 2 + 1)
        if any(period % step == 0 for step in steps)
    )


def left_over(features: IgnoredFeatures, graph: Graph) -> bool:
    """Whether strided layers leave at least so many positions over at the end: each what its stride does not divide."""
    if not features.at_end:
        return False
    starts = (op for op in graph.inputs if op.shape is not None and op.shape[features.axis : features.axis + 1] == (features.size,))
    return any(len(features.indices) <= _rest(op, features.axis - 2) for op in starts)


def _rest(op: Op, axis: int) -> int:
    """Positions at the end of a spatial axis of `op` that the layers after it do not reach."""
    rest, step = 0, 1
    while len(op.users) == 1:
        op = op.users[0]
        window = window_of(op) if op.is_kind("conv", "pool") and not op.is_kind("conv-transpose") else None
        if window is None or not 0 <= axis < len(window.kernel):
            continue
        first = (window.outputs[axis] - 1) * window.stride[axis] - window.padding[axis]
        reached = first + (window.kernel[axis] - 1) * window.dilation[axis] + 1
        rest += step * max(0, window.inputs[axis] - reached)
        step *= window.stride[axis]
    return rest


def _recurs(features: IgnoredFeatures, period: int) -> bool:
    """Whether each period leaves out the same places and not all of them; the last one is cut by the border."""
    ignored = set(features.indices)
    first = [place in ignored for place in range(period)]
    whole = features.size - features.size % period - (0 if features.size % period else period)
    return not all(first) and all((place in ignored) == first[place % period] for place in range(whole))


def _steps(op: Op) -> list[int]:
    """By how much an op moves on from one position that it reads to the next, where it skips some between."""
    if op.name in ("interpolate", "upsample"):
        sizes = list(
            zip((op.activations[0].shape or ())[2:] if op.activations else (), (op.shape or ())[2:], strict=False)
        )
        return [before // after for before, after in sizes if after and before >= 2 * after]
    if op.name == "getitem":
        items = op.node.args[1] if isinstance(op.node.args[1], tuple) else op.node.args[1:]
        return [item.step for item in items if isinstance(item, slice) and isinstance(item.step, int) and item.step > 1]
    window = window_of(op) if op.is_kind("conv", "pool") and not op.is_kind("conv-transpose") else None
    if window is None:
        return []
    return [stride for kernel, stride in zip(window.kernel, window.stride, strict=True) if stride > kernel]
