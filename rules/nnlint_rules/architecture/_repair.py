"""The permute that a scrambled view lacks, as code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint import Cut, Digit, Graph, Op


def reordering(graph: Graph, op: Op, cut: Cut) -> str:
    """`x.permute(0, 2, 3, 1).reshape(48, 49, 64)`: what gives the shape of the view without mixing; empty where no order fits."""
    if not cut.swapped or op.shape is None:
        return ""
    wanted = [piece for dim in cut.swapped for piece in dim]
    before = [
        [piece for digit in dim for piece in _pieces(digit, wanted)] or [None] for dim in graph.axes(op.inputs[0]).dims
    ]
    given = [piece for pieces in before for piece in pieces]
    after = _order(given, wanted)
    if after is None:
        return ""
    sizes = [piece.size if piece is not None else 1 for piece in given]
    split = f".view{tuple(sizes)}" if len(given) != len(before) else ""
    order = f".permute({', '.join(map(str, after))})"
    moved = [sizes[at] for at in after]
    merged = f".reshape{tuple(op.shape)}" if moved != list(op.shape) else ""
    return f"write x{split}{order}{merged} instead of x.{op.name}{tuple(op.shape)}"


def _pieces(digit: Digit, wanted: Sequence[Digit]) -> list[Digit | None]:
    """The parts of a digit that the repaired order moves, outermost first; the digit itself where it stays whole."""
    top = digit.stride * digit.size
    parts = [part for part in wanted if part.axis is digit.axis and digit.stride <= part.stride < top]
    return [*sorted(parts, key=lambda part: -part.stride)] or [digit]


def _order(given: Sequence[Digit | None], wanted: Sequence[Digit]) -> list[int] | None:
    """Places of the given pieces in the wanted order; what the view leaves alone keeps its place."""
    places = [at for at, piece in enumerate(given) if piece is not None and piece in wanted]
    if len(places) != len(wanted):
        return None
    order = list(range(len(given)))
    for place, piece in zip(places, wanted, strict=True):
        order[place] = given.index(piece)
    return order
