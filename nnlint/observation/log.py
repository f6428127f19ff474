"""The evidence of the loop rules: `Events` (the log with queries), `Loaders`, `Ranks`. See `nnlint.observation.events` for the events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar, overload

from nnlint.observation.events import (
    Backward,
    Clear,
    Clip,
    Event,
    Forward,
    Made,
    Names,
    ScalerCall,
    Schedule,
    Seed,
    StateKept,
    Step,
    Update,
)
from nnlint.observation.facts import (
    End,
    GroupFacts,
    LoaderFacts,
    ModuleFacts,
    OptimizerFacts,
    ParameterFacts,
    ScalerFacts,
    SchedulerFacts,
)
from nnlint.observation.reads import Pass, Read

AnyEvent = TypeVar("AnyEvent", bound=Event)


@dataclass(frozen=True)
class Events:
    """The log of one process, in the order in which the events began.

    Attributes:
        log: the events; `log[i].index == i`.
        optimizers: by name, in the order of making.
        modules: by name, in the order of their first call.
        parameters: by name.
        schedulers: by name.
        scalers: by name.
        end: how the observation ended.
        group: the process group, where there is one.
    """

    log: tuple[Event, ...] = ()
    optimizers: Mapping[str, OptimizerFacts] = field(default_factory=dict)
    modules: Mapping[str, ModuleFacts] = field(default_factory=dict)
    parameters: Mapping[str, ParameterFacts] = field(default_factory=dict)
    schedulers: Mapping[str, SchedulerFacts] = field(default_factory=dict)
    scalers: Mapping[str, ScalerFacts] = field(default_factory=dict)
    end: End = field(default_factory=End)
    group: GroupFacts | None = None

    def __len__(self) -> int:
        return len(self.log)

    def __iter__(self) -> Iterator[Event]:
        return iter(self.log)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Event, ...]: ...
    def __getitem__(self, index: int | slice) -> Event | tuple[Event, ...]:
        return self.log[index]

    # ---------------------------------------------------------------- by kind

    def of(self, kind: type[AnyEvent]) -> tuple[AnyEvent, ...]:
        """All events of one kind, in order."""
        return tuple(event for event in self.log if isinstance(event, kind))

    @cached_property
    def forwards(self) -> tuple[Forward, ...]:
        """All outermost module calls."""
        return self.of(Forward)

    @cached_property
    def backwards(self) -> tuple[Backward, ...]:
        """The backwards that fill `.grad`: no calls of `autograd.grad`."""
        return tuple(event for event in self.of(Backward) if event.accumulates)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps of all optimizers that no other optimizer's step made."""
        return tuple(
            step for step in self.of(Step) if step.inside is None or not isinstance(self.log[step.inside], Step)
        )

    @cached_property
    def clears(self) -> tuple[Clear, ...]:
        """Every clearing of gradients that held something."""
        return self.of(Clear)

    @cached_property
    def clips(self) -> tuple[Clip, ...]:
        """Every clipping."""
        return self.of(Clip)

    @cached_property
    def reads(self) -> tuple[Read, ...]:
        """Every batch read."""
        return self.of(Read)

    @cached_property
    def updates(self) -> tuple[Update, ...]:
        """Changes of parameters outside optimizer steps."""
        return self.of(Update)

    @cached_property
    def seeds(self) -> tuple[Seed, ...]:
        """Settings of the random state."""
        return self.of(Seed)

    @cached_property
    def kept_states(self) -> tuple[StateKept, ...]:
        """State dicts that were still referred to later."""
        return self.of(StateKept)

    # ---------------------------------------------------------------- by optimizer

    def steps_of(self, optimizer: str) -> tuple[Step, ...]:
        """The steps of one optimizer, in order, those inside another optimizer's step left out."""
        return tuple(step for step in self.steps if step.optimizer == optimizer)

    def backwards_of(self, optimizer: str) -> tuple[Backward, ...]:
        """The backwards that filled a gradient of any of its parameters."""
        return tuple(event for event in self.backwards if optimizer in event.optimizers)

    def schedules_of(self, optimizer: str) -> tuple[Schedule, ...]:
        """The scheduler calls that set its rates."""
        return tuple(event for event in self.of(Schedule) if event.optimizer == optimizer)

    def scaler_calls_of(self, optimizer: str) -> tuple[ScalerCall, ...]:
        """The scaler's `unscale_` and `step` calls with this optimizer."""
        return tuple(event for event in self.of(ScalerCall) if event.optimizer == optimizer)

    def forwards_of(self, optimizer: str) -> tuple[Forward, ...]:
        """The forwards of modules that have any of its parameters."""
        own = self.optimizers[optimizer].parameters
        return tuple(event for event in self.forwards if own & self.modules[event.module].parameters)

    def took_part(self, optimizer: str) -> Names:
        """Those of its parameters that belong to a module that was called, or that a backward filled."""
        own = self.optimizers[optimizer].parameters
        called = {event.module for event in self.forwards}
        read = frozenset().union(*(self.modules[name].parameters for name in called))
        return own & (read | frozenset().union(*(event.filled for event in self.backwards)))

    # ---------------------------------------------------------------- by order

    def between(self, first: Event | None, last: Event | None, kind: type[AnyEvent]) -> tuple[AnyEvent, ...]:
        """Events of a kind that began after `first` (None: from the start) and before `last` (None: to the end)."""
        low = -1 if first is None else first.index
        high = len(self.log) if last is None else last.index
        return tuple(event for event in self.log[low + 1 : high] if isinstance(event, kind))

    def backwards_between(self, first: Event | None, last: Event | None) -> tuple[Backward, ...]:
        """The backwards that fill `.grad` and began between two events."""
        return tuple(event for event in self.between(first, last, Backward) if event.accumulates)

    def inside(self, event: Event, kind: type[AnyEvent]) -> tuple[AnyEvent, ...]:
        """Events of a kind that happened during `event`, at any depth."""
        return tuple(found for found in self.log if isinstance(found, kind) and self._is_inside(found, event))

    def _is_inside(self, event: Event, outer: Event) -> bool:
        above = event.inside
        while above is not None and above != outer.index:
            above = self.log[above].inside
        return above is not None

    def order(self, first: Event | None, last: Event | None) -> str:
        """The observed order in one line: `forward:30 -> backward:31 -> step:32`; both ends included, reads left out."""
        low = 0 if first is None else first.index
        high = len(self.log) if last is None else last.index + 1
        shown = [str(event) for event in self.log[low:high] if not isinstance(event, (Read, Pass, Made, Seed))]
        return " -> ".join(text for text, before in zip(shown, ["", *shown], strict=False) if text != before)

    def at(self, indices: tuple[int, ...]) -> tuple[Event, ...]:
        """The events with these indices."""
        return tuple(self.log[index] for index in indices)

    # ---------------------------------------------------------------- by meaning

    @cached_property
    def used_backwards(self) -> frozenset[int]:
        """Indices of the backwards that any step used."""
        return frozenset(index for step in self.of(Step) for index in step.backwards)

    def unused(self, clear: Clear) -> Mapping[str, tuple[int, ...]]:
        """Of what a clearing took away: parameter -> the backwards that no step had used until then."""
        used: dict[str, set[int]] = {}
        for step in self.between(None, clear, Step):
            for name, held in step.gradients.items():
                used.setdefault(name, set()).update(held)
        lost = ((name, tuple(i for i in held if i not in used.get(name, ()))) for name, held in clear.lost.items())
        return {name: held for name, held in lost if held}

    @cached_property
    def first_trained(self) -> Forward | None:
        """The first forward that a backward reached; the evaluation rules have nothing to compare with before it."""
        return next((event for event in self.forwards if event.backwards), None)

    @cached_property
    def training_forwards(self) -> tuple[Forward, ...]:
        """The forwards that a backward reached."""
        return tuple(event for event in self.forwards if event.backwards)

    @cached_property
    def evaluation_forwards(self) -> tuple[Forward, ...]:
        """Forwards of trained modules, after the first training forward, on batches of loaders that training never read."""
        first = self.first_trained
        if first is None:
            return ()
        trained = {event.module for event in self.training_forwards}
        loaders = {self._loader(index) for event in self.training_forwards for index in event.reads}
        return tuple(
            event
            for event in self.forwards
            if event.index > first.index and event.module in trained and not event.backwards
            if event.reads and not loaders & {self._loader(index) for index in event.reads}
        )

    def _loader(self, index: int) -> str:
        read = self.log[index]
        assert isinstance(read, Read)
        return read.loader


@dataclass(frozen=True)
class Loaders:
    """The DataLoaders that were read, by name, in the order of their first read."""

    known: Mapping[str, LoaderFacts] = field(default_factory=dict)
    reads: tuple[Read, ...] = ()
    passes: tuple[Pass, ...] = ()

    def __iter__(self) -> Iterator[LoaderFacts]:
        return iter(self.known.values())

    def __getitem__(self, name: str) -> LoaderFacts:
        return self.known[name]

    @property
    def training(self) -> tuple[LoaderFacts, ...]:
        """Those whose batches came into a forward that a backward reached."""
        return tuple(loader for loader in self if loader.training)

    def reads_of(self, loader: str) -> tuple[Read, ...]:
        """The batches of one loader, in order."""
        return tuple(read for read in self.reads if read.loader == loader)

    def passes_of(self, loader: str) -> tuple[Pass, ...]:
        """Beginnings and ends of the passes over one loader."""
        return tuple(event for event in self.passes if event.loader == loader)


@dataclass(frozen=True)
class Ranks:
    """What each process of the group observed, by rank; a rank that died has no entry and is in `lost`.

    `Step.norms` of the same step number are comparable across ranks, `Read.samples` across loaders.
    """

    events: Mapping[int, Events] = field(default_factory=dict)
    loaders: Mapping[int, Loaders] = field(default_factory=dict)
    lost: tuple[int, ...] = ()

    @property
    def world(self) -> int:
        """Number of processes."""
        return len(self.events) + len(self.lost)


@dataclass(frozen=True)
class Observation:
    """Everything a process observed, as plain data: what ranks exchange."""

    events: Events = field(default_factory=Events)
    loaders: Loaders = field(default_factory=Loaders)
    ranks: Ranks | None = None
