"""The log while it grows: events as drafts, parameters and things by number until their names are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from nnlint.finding import Location
from nnlint.observation.events import Event, Term


class Keys(frozenset[int]):
    """Parameters by their numbers."""


class Held(dict[int, tuple[int, ...]]):
    """Parameter number -> indices of backwards."""


class Measured(dict[int, float]):
    """Parameter number -> a number."""


class Ref(int):
    """An optimizer, module, loader, scheduler or scaler by its number."""


@dataclass
class DraftTerm:
    """A summand of a loss, with parameters by number."""

    operation: str
    reached: Keys
    forwards: tuple[int, ...]


@dataclass
class Draft:
    """An event that may still learn."""

    kind: type[Event]
    index: int
    fields: dict[str, Any]


@dataclass
class Journal:
    """The drafts in the order in which the events began."""

    drafts: list[Draft] = field(default_factory=list)
    iteration: int = 0
    epoch: int = 0
    _open: list[Draft] = field(default_factory=list)

    def note(self, kind: type[Event], location: Location | None, **fields: Any) -> Draft:
        """Add an event; it is inside the one that is open."""
        inside = self._open[-1].index if self._open else None
        draft = Draft(kind, len(self.drafts), fields)
        draft.fields |= {"location": location, "iteration": self.iteration, "epoch": self.epoch, "inside": inside}
        self.drafts.append(draft)
        return draft

    def open(self, draft: Draft) -> None:
        """What is noted from now on happens during this event."""
        self._open.append(draft)

    def close(self, draft: Draft) -> None:
        """The event has ended, and with it whatever it began that did not end properly."""
        if draft in self._open:
            del self._open[self._open.index(draft) :]

    def opened(self, kind: type[Event]) -> Draft | None:
        """The innermost open event of a kind."""
        return next((draft for draft in reversed(self._open) if draft.kind is kind), None)

    def of(self, kind: type[Event]) -> Iterator[Draft]:
        """The drafts of one kind, newest first."""
        return (draft for draft in reversed(self.drafts) if draft.kind is kind)

    @contextmanager
    def during(self, draft: Draft) -> Iterator[None]:
        """Keep an event open for a block."""
        self.open(draft)
        try:
            yield
        finally:
            self.close(draft)


def frozen(drafts: list[Draft], parameters: Mapping[int, str], things: Mapping[int, str]) -> tuple[Event, ...]:
    """The events, with names in the place of numbers."""

    def named(value: Any) -> Any:
        if isinstance(value, Keys):
            return frozenset(parameters[key] for key in value)
        if isinstance(value, (Held, Measured)):
            return {parameters[key]: item for key, item in value.items()}
        if isinstance(value, Ref):
            return things[value]
        if isinstance(value, DraftTerm):
            return Term(value.operation, named(value.reached), value.forwards)
        if isinstance(value, tuple) and any(isinstance(item, (Ref, DraftTerm)) for item in value):
            return tuple(map(named, value))
        return value

    return tuple(
        draft.kind(index=draft.index, **{name: named(value) for name, value in draft.fields.items()})
        for draft in drafts
    )
