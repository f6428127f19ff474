"""Walks over the operations of a graph. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint.capture.graph import Op


def reached(ops: Iterable[Op], step: Callable[[Op], Iterable[Op]]) -> frozenset[Op]:
    """What one step or more lead to from any of `ops`."""
    seen: set[Op] = set()
    waiting = [found for op in ops for found in step(op)]
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting.extend(step(current))
    return frozenset(seen)
