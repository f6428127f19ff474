"""Generators that are set back while a script trains."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from nnlint import Forward, Made, Pass, Read, Seed, Step

if TYPE_CHECKING:
    from nnlint import Event, Events, Loaders

    Points = list[tuple[Event, tuple[int, int, int]]]  # moments, with the digest of each generator

#: The generators, in the order of the digests; what a `Seed` calls them.
KINDS = ("torch", "numpy", "random")


def rewinding(events: Events, points: Points, kind: str) -> tuple[Seed | None, Event, Event, str] | None:
    """How one of the generators was set back, and its name in a message."""
    own = [(event, states[KINDS.index(kind)]) for event, states in points]
    found = _returned(events, own, kind) or _seeded_again(events, own, kind)
    return (*found, {"torch": "torch", "numpy": "NumPy", "random": "Python"}[kind]) if found is not None else None


def training_points(events: Events, loaders: Loaders) -> Points:
    """The moments of training with the digest of the generators: passes and reads of its loaders, its forwards and steps."""
    trained = {loader.name for loader in loaders.training}
    found: Points = []
    for event in events:
        of_training = (isinstance(event, (Pass, Read)) and event.loader in trained) or isinstance(event, Step)
        if of_training or (isinstance(event, Forward) and event.backwards):
            found.append((event, event.random_state))  # type: ignore[attr-defined]
    return found


def _returned(events: Events, points: list[tuple[Event, int]], kind: str) -> tuple[Seed | None, Event, Event] | None:
    """A state that comes back after training drew from it, with an update in between and the same optimizer after."""
    seen: dict[int, int] = {}
    for position, (event, state) in enumerate(points):
        first = seen.setdefault(state, position)
        before = points[first][0]
        left = any(other != state for _, other in points[first:position])
        if left and event.iteration > before.iteration and not begins_anew(events, before, event):
            seeds = [seed for seed in events.between(before, event, Seed) if seed.what == kind]
            return (seeds[-1] if seeds else None), before, event
    return None


def _seeded_again(events: Events, points: list[tuple[Event, int]], kind: str) -> tuple[Seed, Event, Event] | None:
    """A seed that has been set to this value before, and that training goes on from."""
    seeds = [seed for seed in events.seeds if seed.value is not None and seed.what == kind]
    for number, seed in enumerate(seeds):
        first = next((old for old in seeds[:number] if old.value == seed.value), None)
        before = [point for point in points if point[0].index < seed.index]
        after = [point for point in points if point[0].index > seed.index]
        if (
            first is None
            or not before
            or not after
            or not seed.iteration
            or begins_anew(events, before[-1][0], after[0][0])
        ):
            continue
        restored = after[0][1] == before[-1][1]
        draws = any(one != two for (_, one), (_, two) in pairwise(after))
        if not restored and draws:
            return seed, before[-1][0], after[0][0]
    return None


def begins_anew(events: Events, before: Event, after: Event) -> bool:
    """Whether an optimizer was made in between: another run."""
    return any(event.what == "optimizer" for event in events.between(before, after, Made))
