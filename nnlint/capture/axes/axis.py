"""The value types of axis flow: an axis, a run of its digits, a dimension. Imports no torch.

A dimension of a tensor is a product of digits of axes, outermost first. A digit is what a view cuts from an axis: with index
i on the axis, `Digit(axis, stride, size)` is `(i // stride) % size`. The whole axis is `Digit(axis, 1, axis.size)`. Views merge
and split digits in memory order, so that a view undone by its inverse gives the digits it began with. A dimension of size 1 has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

#: Where an axis comes from: values of the batch (or computed from them), a parameter, a factory, an expansion, nobody knows.
DATA, CONSTANT, RANDOM, REPEATED, UNKNOWN = "data", "constant", "random", "repeated", "unknown"
#: The role of an axis that counts values of the same axes laid one after the other: `cat([one_view, other_view])`.
PIECE = "piece"
_RANK = {DATA: 4, CONSTANT: 3, RANDOM: 2, REPEATED: 1, UNKNOWN: 0}


@dataclass(frozen=True, eq=False, slots=True)
class Axis:
    """One axis, known by its identity, not by its size.

    Attributes:
        key: its number in the flow.
        size: how many entries it has.
        role: "batch", "time", "channel", "height", "width", "feature", "head", ...; empty where nothing tells.
        origin: `DATA`, `CONSTANT`, `RANDOM`, `REPEATED` or `UNKNOWN`.
        roots: keys of the axes that its entries were taken from (slices, concatenations, resized maps keep their roots).
        sources: what a scrambled view was cut from, in memory order; empty for every other axis.
        scrambled_by: index of the op that made it by a scrambled view.
        packed: the dimensions (time, batch) of the padded sequence that a packed one was made from.
        twin: key of the axis that this one stands beside in a product of a value with itself (keys beside queries).
    """

    key: int
    size: int
    role: str = ""
    origin: str = DATA
    roots: frozenset[int] = frozenset()
    sources: tuple[Digit, ...] = ()
    scrambled_by: int | None = None
    packed: tuple[Dim, Dim] | None = None
    twin: int | None = None

    @property
    def rank(self) -> int:
        """Which of two aligned axes names the dimension: the higher."""
        return _RANK[self.origin]


@dataclass(frozen=True, slots=True)
class Digit:
    """A run of an axis: `(index // stride) % size`."""

    axis: Axis
    stride: int
    size: int

    @property
    def is_whole(self) -> bool:
        """Whether it is the axis itself."""
        return self.size == self.axis.size


Dim: TypeAlias = tuple[Digit, ...]


def whole(axis: Axis) -> Dim:
    """The dimension that is this axis and nothing else."""
    return (Digit(axis, 1, axis.size),) if axis.size != 1 else ()


def size_of(dim: Iterable[Digit]) -> int:
    """Entries of a dimension."""
    return math.prod(digit.size for digit in dim)


def shape_of(dims: Iterable[Dim]) -> tuple[int, ...]:
    """The shape of a value with these dimensions."""
    return tuple(map(size_of, dims))


def in_memory(dims: Iterable[Dim]) -> list[Digit]:
    """All digits in memory order; neighbours of one axis are one digit again, and an undone scramble is what it was cut from."""
    merged = _merged(digit for dim in dims for digit in dim)
    if any(digit.axis.sources and digit.is_whole for digit in merged):
        undone = (digit.axis.sources if digit.axis.sources and digit.is_whole else (digit,) for digit in merged)
        return _merged(digit for part in undone for digit in part)
    return merged


def _merged(digits: Iterable[Digit]) -> list[Digit]:
    found: list[Digit] = []
    for digit in digits:
        last = found[-1] if found else None
        if last is not None and last.axis is digit.axis and last.stride == digit.stride * digit.size:
            found[-1] = Digit(digit.axis, digit.stride, last.size * digit.size)
        elif digit.size != 1:
            found.append(digit)
    return found


def taken(rest: list[Digit], size: int) -> Dim | None:
    """Take a dimension of that size from the inner end of `rest`; None where a boundary falls inside a digit."""
    dim: list[Digit] = []
    left = size
    while left > 1:
        if not rest:
            return None
        digit = rest.pop()
        if left % digit.size == 0:
            dim.append(digit)
            left //= digit.size
        elif digit.size % left == 0:
            dim.append(Digit(digit.axis, digit.stride, left))
            rest.append(Digit(digit.axis, digit.stride * left, digit.size // left))
            left = 1
        else:
            return None
    return tuple(reversed(dim))


def split(digits: Iterable[Digit], sizes: Sequence[int]) -> list[Dim] | None:
    """Cut digits in memory order into dimensions of these sizes; None where a boundary falls inside a digit."""
    rest = list(digits)
    dims = [taken(rest, size) for size in reversed(sizes)]
    fitting = [dim for dim in reversed(dims) if dim is not None]
    return fitting if len(fitting) == len(sizes) else None


def axes_in(dims: Iterable[Dim]) -> list[Axis]:
    """The axes of some dimensions, each once."""
    return list(dict.fromkeys(digit.axis for dim in dims for digit in dim))


def roots_of(dim: Iterable[Digit]) -> frozenset[int]:
    """Keys of the axes that a dimension's entries come from."""
    return frozenset(root for digit in dim for root in digit.axis.roots)


def best_of(dims: Sequence[Dim]) -> Dim:
    """Which of some aligned dimensions of one size names the result: one from the data, a mixture among those, then the first."""
    return max(dims, key=lambda dim: (min((digit.axis.rank for digit in dim), default=-1), any(map(_is_mixed, dim))))


def _is_mixed(digit: Digit) -> bool:
    return digit.axis.scrambled_by is not None
