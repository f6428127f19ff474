"""Views and reshapes: digits in memory order, cut into new dimensions. Says where such a cut mixes two axes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from nnlint.capture.axes.axis import DATA, Axis, Digit, Dim, in_memory, roots_of, size_of, split

_Part = TypeVar("_Part")
#: What is split on purpose: heads and groups are parts of these.
_SPLIT = ("feature", "channel", "head")
_SEARCHED = 7  # digits and new dimensions of one block that an arrangement is looked for in


class MakeAxis(Protocol):
    """Makes the axis that stands for a run of memory whose digits a view cut across."""

    def __call__(self, digits: tuple[Digit, ...], *, scrambled: bool) -> Axis:
        """The axis whose `sources` are `digits`."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A run of memory that a view cut across the digits it holds.

    Attributes:
        digits: what lay in memory, outermost first.
        shape: the sizes it was cut into.
        swapped: the digits as the new dimensions would hold them after a permute; empty where no order fits.
    """

    digits: tuple[Digit, ...]
    shape: tuple[int, ...]
    swapped: tuple[Dim, ...]


def regroup(dims: Sequence[Dim], shape: Sequence[int], make: MakeAxis) -> tuple[tuple[Dim, ...], list[Cut]]:
    """The dimensions of a view of `shape`, and where it scrambles.

    Args:
        dims: of the value that is viewed.
        shape: of the view; its number of entries is that of `dims`.
        make: makes the axis for a run of memory that has to be kept in one piece.
    """
    found: list[Dim] = []
    cuts: list[Cut] = []
    for run, counts in _blocks(dims, shape, size_of):
        digits = in_memory(run)
        if len(counts) == 1:
            found.append(tuple(digits))  # neighbours are merged, whatever they are
            continue
        plain = split(digits, counts)
        cut = None if _is_clean(plain, digits) else _judged(tuple(digits), counts, plain)
        if cut is not None:
            cuts.append(cut)
            plain = split((Digit(axis := make(cut.digits, scrambled=True), 1, axis.size),), counts)
        found.extend(plain if plain is not None else _kept_together(digits, counts, make))
    return tuple(found), cuts


def _kept_together(digits: Sequence[Digit], counts: Sequence[int], make: MakeAxis) -> Iterator[Dim]:
    """The new dimensions where no boundary fits: each run that holds the same entries as some of them is one axis, cut anew."""
    for part, sizes in _blocks(digits, counts, lambda digit: digit.size):
        axis = make(part, scrambled=False)
        yield from split(part, sizes) or split((Digit(axis, 1, axis.size),), sizes) or ()


def _blocks(
    parts: Sequence[_Part], shape: Sequence[int], size: Callable[[_Part], int]
) -> Iterator[tuple[tuple[_Part, ...], tuple[int, ...]]]:
    """Runs of parts and of new dimensions that hold the same entries, as short as can be."""
    first = start = 0
    wanted = 1
    for end, count in enumerate(shape, start=1):
        wanted *= count
        done, stop = 1, first
        while stop < len(parts) and (done < wanted or size(parts[stop]) == 1):
            done *= size(parts[stop])
            stop += 1
        if done == wanted:
            yield tuple(parts[first:stop]), tuple(shape[start:end])
            first, start, wanted = stop, end, 1


def _is_clean(dims: Sequence[Dim] | None, digits: Sequence[Digit]) -> bool:
    """Whether every digit is whole in one dimension, or split into dimensions that hold nothing else."""
    return dims is not None and all(
        len(dim) < 2 or not any(_is_partial(digit, digits) for digit in dim) for dim in dims
    )


def _is_partial(digit: Digit, digits: Sequence[Digit]) -> bool:
    return not any(
        digit.axis is before.axis and (digit.stride, digit.size) == (before.stride, before.size) for before in digits
    )


def _is_tangled(dims: Sequence[Dim], digits: Sequence[Digit]) -> bool:
    """Whether a dimension joins pieces of two axes, or an axis is torn."""
    numbers = [number for number, _ in _joined_pieces(dims, digits)]
    return len(set(numbers)) < len(numbers) or _is_torn(dims, digits)


def _is_torn(dims: Sequence[Dim], digits: Sequence[Digit]) -> bool:
    """Whether an axis is cut with other axes on both sides of the cut, or the end of one place joined with the begin of the next."""
    pieces = _joined_pieces(dims, digits)
    places = [number for number, axis in pieces if axis.role not in _SPLIT]
    return len({axis for _, axis in pieces}) < len(pieces) or len(set(places)) < len(places)


def _joined_pieces(dims: Sequence[Dim], digits: Sequence[Digit]) -> list[tuple[int, Axis]]:
    """Number of the dimension and axis of each piece of an axis that lies with others in a dimension."""
    return [
        (number, digit.axis)
        for number, dim in enumerate(dims)
        for digit in dim
        if len(dim) > 1 and _is_partial(digit, digits)
    ]


def _judged(digits: tuple[Digit, ...], sizes: tuple[int, ...], plain: list[Dim] | None) -> Cut | None:
    """The cut, where it is a scramble of the data: no digits fit, an axis is torn, or the shape is that of a permuted value."""
    named = [digit for digit in digits if digit.axis.origin == DATA]
    apart = {frozenset(roots_of((digit,))) for digit in named}
    if len(named) < 2 or len(apart) < 2 or len(named) < len(digits):
        return None
    wide = tuple(size for size in sizes if size > 1)
    swapped: tuple[Dim, ...] = next(_arrangements(digits, wide), ())
    if not swapped and (plain is None or _is_tangled(plain, digits)):
        swapped = next(_with_last_split(digits, wide), ())
    return Cut(digits, sizes, swapped) if swapped or plain is None or _is_torn(plain, digits) else None


def _arrangements(digits: Sequence[Digit], sizes: Sequence[int]) -> Iterator[tuple[Dim, ...]]:
    """Ways to give whole digits, or one split into several dimensions, to the sizes, in whatever order."""
    if not 1 < len(digits) <= _SEARCHED or not 1 < len(sizes) <= _SEARCHED:
        return
    for pieces in (digits, *_split_once(digits, sizes)):
        for order in _assigned(list(pieces), list(sizes)):
            if [piece for dim in order for piece in dim] != list(pieces):  # else it is the order they lie in
                yield tuple(order)


def _split_once(digits: Sequence[Digit], sizes: Sequence[int]) -> Iterator[list[Digit]]:
    """The digits with one of them split into two of the sizes (heads and features of a head)."""
    for place, digit in enumerate(digits):
        for outer, inner in itertools.permutations(sizes, 2):
            if outer * inner == digit.size:
                parts = [Digit(digit.axis, digit.stride * inner, outer), Digit(digit.axis, digit.stride, inner)]
                yield [*digits[:place], *parts, *digits[place + 1 :]]


def _with_last_split(digits: Sequence[Digit], sizes: Sequence[int]) -> Iterator[tuple[Dim, ...]]:
    """Ways in which the last dimension is the inner part of one digit and its outer part lies with others: heads in the batch."""
    if not 1 < len(digits) <= _SEARCHED or not 1 < len(sizes) <= _SEARCHED:
        return
    for place, digit in enumerate(digits):
        if digit.size % sizes[-1] == 0 and digit.size > sizes[-1]:
            inner = Digit(digit.axis, digit.stride, sizes[-1])
            outer = Digit(digit.axis, digit.stride * sizes[-1], digit.size // sizes[-1])
            for order in _assigned([*digits[:place], outer, *digits[place + 1 :]], list(sizes[:-1])):
                yield (*order, (inner,))


def _assigned(pieces: list[Digit], sizes: list[int]) -> Iterator[list[Dim]]:
    if not sizes:
        if not pieces:
            yield []
        return
    for count in range(1, len(pieces) - len(sizes) + 2):
        for chosen in itertools.combinations(range(len(pieces)), count):
            if math.prod(pieces[index].size for index in chosen) != sizes[0]:
                continue
            rest = [piece for index, piece in enumerate(pieces) if index not in chosen]
            for others in _assigned(rest, sizes[1:]):
                yield [tuple(pieces[index] for index in chosen), *others]
