"""What nnlint itself computes while it watches a script (`nnlint.preflight` before the loop) is no part of the script."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint.observation.state import State

_WATCHING: ContextVar[tuple[State, ...]] = ContextVar("watching", default=())


def begin(state: State) -> None:
    """An observation of this process begins."""
    _WATCHING.set((*_WATCHING.get(), state))


def end(state: State) -> None:
    """It has ended."""
    _WATCHING.set(tuple(other for other in _WATCHING.get() if other is not state))


@contextmanager
def unwatched() -> Iterator[None]:
    """Leave what happens inside out of every observation."""
    paused = [state for state in _WATCHING.get() if state.listens()]
    takers = [state.taker for state in paused if state.taker is not None]
    for state in paused:
        state.active = False
    for taker in takers:
        taker.pause(1)
    try:
        yield
    finally:
        for taker in takers:
            taker.pause(-1)
        for state in paused:
            state.active = True
