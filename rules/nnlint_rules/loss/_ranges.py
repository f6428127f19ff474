"""Interval arithmetic on the graph: which values an op's output can take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint import Op

_INF = float("inf")
_SAME = ("view", "identity", "cast", "index", "select", "avg-pool", "max-pool", "mean", "detach")
_FREE = ("linear-map", "norm", "matmul", "recurrent", "attention", "embedding", "log", "input", "leaky", "elu", "selu")
_DEPTH = 24


@dataclass(frozen=True)
class Interval:
    """Closed interval of possible values.

    Attributes:
        known: False where an op is not understood; the bounds then say nothing.
        source: label of the op that sets the bounds.
    """

    low: float = -_INF
    high: float = _INF
    known: bool = True
    source: str = ""

    def inside(self, low: float, high: float) -> bool:
        """Whether every possible value is between `low` and `high`."""
        return self.known and low <= self.low and self.high <= high

    @property
    def bounded(self) -> bool:
        """Whether there is a bound on either side."""
        return self.known and (self.low > -_INF or self.high < _INF)

    def __str__(self) -> str:
        low = f"[{self.low:g}" if self.low > -_INF else "(-inf"
        return f"{low}, {self.high:g}]" if self.high < _INF else f"{low}, inf)"


_UNKNOWN = Interval(known=False)


def value_range(op: Op, depth: int = _DEPTH) -> Interval:
    """The interval that `op`'s values are in, by what the ops before it do."""
    if depth == 0:
        return _UNKNOWN
    if op.is_kind("clamp", "hardtanh"):
        return _clamped(op, depth)
    if _is_even(op):
        return Interval(0.0, _INF, source=op.label)
    if op.name != "exp" and op.range is not None:
        return Interval(*op.range, source=op.label)
    if op.is_kind(*_FREE):
        return Interval(source=op.label)
    return _carried(op, depth) if op.activations else _UNKNOWN


def _carried(op: Op, depth: int) -> Interval:
    """The interval of an op whose values are made of those of its inputs."""
    if op.is_kind(*_SAME):
        return value_range(op.activations[0], depth - 1)
    if op.name == "exp":
        return _exponential(value_range(op.activations[0], depth - 1), op)
    if op.is_kind("dropout"):
        return _dropped(op, depth)
    if op.is_kind("elementwise"):
        return _arithmetic(op, depth)
    if op.is_kind("concat"):
        return _union([value_range(part, depth - 1) for part in op.activations])
    return _UNKNOWN


def _exponential(inner: Interval, op: Op) -> Interval:
    low, high = (math.exp(min(bound, 700.0)) for bound in (inner.low, inner.high))
    return Interval(low, high if inner.high < 700 else _INF, inner.known, op.label)


def _is_even(op: Op) -> bool:
    """Whether the op makes non-negative numbers of any: squares and absolute values."""
    exponent = op.leading[1] if op.name == "pow" and len(op.leading) > 1 else None
    return op.name in ("abs", "square") or exponent in (2, 4)


def _clamped(op: Op, depth: int) -> Interval:
    inner = value_range(op.activations[0], depth - 1) if op.activations else Interval()
    if op.is_kind("hardtanh"):
        low, high = op.argument("min_val", -1.0), op.argument("max_val", 1.0)
    elif op.name in ("clamp_min", "clamp_max"):
        bound = op.argument("min", op.argument("max"))
        low, high = (bound, None) if op.name == "clamp_min" else (None, bound)
    else:
        low, high = op.argument("min"), op.argument("max")
    if not all(bound is None or isinstance(bound, (int, float)) for bound in (low, high)):
        return _UNKNOWN
    bounds = inner if inner.known else Interval()
    lowest = max(bounds.low, low) if low is not None else bounds.low
    highest = min(bounds.high, high) if high is not None else bounds.high
    return Interval(lowest, highest, source=op.label)


def _dropped(op: Op, depth: int) -> Interval:
    inner = value_range(op.activations[0], depth - 1)
    kept = 1.0 - float(op.argument("p", 0.5) or 0.0)
    if not inner.known or kept <= 0:
        return inner
    return Interval(min(inner.low / kept, 0.0), max(inner.high / kept, 0.0), source=inner.source)


def _arithmetic(op: Op, depth: int) -> Interval:
    """Sums, differences, products and quotients with a number; exp is in the taxonomy, the rest is not understood."""
    if op.name == "neg":
        inner = value_range(op.activations[0], depth - 1)
        return Interval(-inner.high, -inner.low, inner.known, inner.source)
    number = next(
        (value for value in op.leading if isinstance(value, (int, float)) and not isinstance(value, bool)), None
    )
    if number is None:
        number = op.argument("other")
    if len(op.activations) != 1 or len(op.inputs) != 1 or not isinstance(number, (int, float)):
        return _of_tensors(op, depth)
    inner = value_range(op.activations[0], depth - 1)
    if op.name in ("add", "sub"):
        shift = number if op.name == "add" else -number
        return Interval(inner.low + shift, inner.high + shift, inner.known, inner.source)
    if op.name == "rsub":
        return Interval(number - inner.high, number - inner.low, inner.known, inner.source)
    if op.name in ("mul", "div") and number and not (op.name == "div" and isinstance(op.leading[0], (int, float))):
        factor = number if op.name == "mul" else 1.0 / number
        ends = sorted((inner.low * factor, inner.high * factor))
        return Interval(ends[0], ends[1], inner.known, inner.source)
    return _UNKNOWN


def _of_tensors(op: Op, depth: int) -> Interval:
    if op.name not in ("add", "mul") or len(op.activations) != 2 or len(op.inputs) != 2:
        return _UNKNOWN
    one, other = (value_range(part, depth - 1) for part in op.activations)
    if not (one.known and other.known):
        return _UNKNOWN
    if op.name == "add":
        return Interval(one.low + other.low, one.high + other.high, source=op.label)
    if one.inside(0.0, _INF) and other.inside(0.0, _INF) and max(one.high, other.high) < _INF:
        return Interval(one.low * other.low, one.high * other.high, source=op.label)
    return _UNKNOWN


def _union(parts: list[Interval]) -> Interval:
    known = all(part.known for part in parts)
    return Interval(min(part.low for part in parts), max(part.high for part in parts), known, parts[0].source)
