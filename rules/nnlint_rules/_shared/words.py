"""Words of messages that several rules use, and the module paths that a finding covers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class HasPath(Protocol):
    """An op, a layer's statistics, a parameter."""

    @property
    def module_path(self) -> str:
        """Path of the module that it belongs to."""


def counted(number: int, noun: str) -> str:
    """`1 update`, `20 updates`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: Iterable[str], *, limit: int = 4) -> str:
    """`a, b, c and 5 more`, each name once."""
    shown = list(dict.fromkeys(names))
    more = len(shown) - limit
    return ", ".join(shown[:limit]) + (f" and {more} more" if more > 0 else "")


def paths(found: Iterable[HasPath]) -> tuple[str, ...]:
    """The module paths, each once, in order."""
    return tuple(dict.fromkeys(item.module_path for item in found if item.module_path))


def ranges_text(indices: tuple[int, ...]) -> str:
    """`3, 7-9, 20` of sorted positions; the first few ranges."""
    ranges: list[list[int]] = []
    for index in indices:
        if ranges and index == ranges[-1][1] + 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    shown = [f"{low}" if low == high else f"{low}-{high}" for low, high in ranges[:5]]
    return ", ".join(shown) + (", ..." if len(ranges) > 5 else "")
