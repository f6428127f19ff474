"""One observation from its beginning to its end: hooks on, events, hooks off, the log as frozen data."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch

from nnlint.frames import location_of_exception
from nnlint.observation import quiet
from nnlint.observation.course import Course, ObservationEnded, Plan
from nnlint.observation.events import Backward, Forward, Schedule
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
from nnlint.observation.forwards import statistics_of
from nnlint.observation.hooks import Hooks
from nnlint.observation.journal import Draft, Ref, frozen
from nnlint.observation.loaders import fresh
from nnlint.observation.log import Events, Loaders, Observation
from nnlint.observation.players import Players
from nnlint.observation.processes import Processes
from nnlint.observation.reads import Pass, Read
from nnlint.observation.rest import Reading
from nnlint.observation.state import State
from nnlint.observation.things import Thing
from nnlint.setup.target.construction_sites import ConstructionSites


class Observer:
    """Watches this process.

    Args:
        plan: how long.
        on_end: called when enough was seen, before the script is unwound.
        goes_on: asked then whether the script is to run on to another training.
    """

    def __init__(
        self,
        plan: Plan | None = None,
        on_end: Callable[[], None] | None = None,
        goes_on: Callable[[], bool] = bool,
    ) -> None:
        self.state = State()
        self._on_end = on_end
        self.course = Course(self.state, plan or Plan(), self._ended, self._reading, goes_on)
        self.hooks = Hooks(self.state, self.course)
        self.players = Players(self.state)
        self.processes = Processes()
        self.sites = ConstructionSites()
        self._recording = ExitStack()
        self.end = End()

    def start(self) -> None:
        """Install the hooks."""
        self.state.thread, self.state.process = threading.get_ident(), os.getpid()
        self.state.taker = self.players
        self.hooks.install()
        self._recording.enter_context(self.sites)
        self.processes.install()
        quiet.begin(self.state)

    def stop(self, error: BaseException | None = None) -> None:
        """Take the hooks off; `error` is what ended the script, if anything did."""
        quiet.end(self.state)
        if self.state.active:
            self.hooks.look_at_last()
        self.players.stop()
        self.hooks.remove()
        self._recording.close()
        self.processes.remove()
        self.course.mark_training_loaders()
        if self.end.steps == 0 and self.end.backwards == 0:
            self.end = self._how(error)
        elif error is not None and not isinstance(error, ObservationEnded):
            self.end = replace(self.end, error=str(error), error_type=type(error).__name__)

    @property
    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Those that stepped."""
        found = (self.state.things.known[ref].object() for ref in self.state.updates if ref is not None)
        return [optimizer for optimizer in found if isinstance(optimizer, torch.optim.Optimizer)]

    def context_of(self, optimizers: list[Any]) -> dict[str, Any]:
        """Loaders and scheduler for the setup of a player: what the script has, where it still exists."""
        known = self.state.things.known
        found: dict[str, Any] = {}
        for thing in known:
            value = thing.object()
            if value is None:
                continue
            if thing.what == "loader" and thing.facts.get("passes"):
                again = fresh(value)
                if again is not None:
                    found.setdefault("data" if thing.facts.get("training") else "val_data", again)
            elif thing.what == "scheduler" and self._is_of(thing, optimizers):
                found.setdefault("scheduler", value)
        return found

    def _is_of(self, thing: Thing, optimizers: list[Any]) -> bool:
        owner = thing.facts.get("optimizer")
        return owner is not None and any(self.state.things.known[owner].object() is found for found in optimizers)

    def _ended(self, reason: str) -> None:
        if self._on_end is not None:
            self._on_end()

    def _reading(self, iterator: Any) -> Reading | None:
        return self.hooks.rest.reading(iterator)

    def _how(self, error: BaseException | None) -> End:
        updates = sum(self.state.updates.values())
        drafts = self.state.journal.drafts
        backwards = sum(draft.kind is Backward and draft.fields["accumulates"] for draft in drafts)
        reason, location = self.course.reason or "finished", None
        text = kind = None
        if error is not None and not isinstance(error, ObservationEnded):
            reason = "enough" if self.course.has_folded else _REASONS.get(type(error).__name__, "raised")
            text, kind, location = str(error), type(error).__name__, location_of_exception(error)
        return End(reason, text, kind, location, updates, backwards)

    def observation(self) -> Observation:
        """The log as it stands, as frozen data."""
        made = Freezer(self.state)
        events = replace(made.events(), end=self.end)
        loaders = made.loaders(events)
        return Observation(events, loaders)


_REASONS = {"KeyboardInterrupt": "interrupted", "SystemExit": "stopped"}


class Freezer:
    """Turns the drafts and tables into frozen data."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._things = state.things.names()
        self._parameters = state.things.parameter_names()

    def events(self) -> Events:
        """The log with its tables."""
        state = self._state
        drafts = state.journal.drafts
        _add_backwards(drafts)
        for draft in drafts:
            if draft.kind is Schedule:
                draft.fields["optimizer"] = self._stepping(draft.fields["optimizer"])
        return Events(
            log=frozen(drafts, self._parameters, self._things),
            optimizers={facts.name: facts for facts in map(self._optimizer, self._all("optimizer"))},
            modules={facts.name: facts for facts in map(self._module, self._all("module"))},
            parameters={facts.name: facts for facts in self._parameter_facts()},
            group=self._group(),
            schedulers={facts.name: facts for facts in map(self._scheduler, self._all("scheduler"))},
            scalers={
                self._things[thing.ref]: ScalerFacts(
                    self._things[thing.ref], thing.location, thing.facts.get("enabled", True), thing.made
                )
                for thing in self._all("scaler")
            },
        )

    def loaders(self, events: Events) -> Loaders:
        """The loaders that were read."""
        passes = events.of(Pass)
        read = dict.fromkeys(event.loader for event in passes)
        by_name = {self._things[thing.ref]: thing for thing in self._all("loader")}
        return Loaders({name: self._loader(name, by_name[name]) for name in read}, events.of(Read), passes)

    def _all(self, what: str) -> list[Thing]:
        return [thing for thing in self._state.things.known if thing.what == what]

    def _named(self, keys: Any) -> frozenset[str]:
        return frozenset(self._parameters[key] for key in keys)

    def _optimizer(self, thing: Thing) -> OptimizerFacts:
        own = [known.key for known in self._state.things.parameters if thing.ref in known.optimizers]
        older = self._replaced(thing, own)
        return OptimizerFacts(
            name=self._things[thing.ref],
            type=thing.type,
            location=thing.location,
            made=thing.made,
            parameters=self._named(own),
            groups=thing.facts.get("groups", ()),
            replaced=self._things[older.ref] if older is not None else None,
            replaced_state=bool(older is not None and older.facts.get("keeps_state")),
            keeps_state=thing.facts.get("keeps_state", False),
        )

    def _replaced(self, thing: Thing, own: list[int]) -> Thing | None:
        """The newest older optimizer over the same parameters."""
        found: Thing | None = None
        for known in (self._state.things.parameters[key] for key in own):
            for ref in known.optimizers:
                if ref < thing.ref and (found is None or ref > found.ref):
                    found = self._state.things.known[ref]
        return found

    def _group(self) -> GroupFacts | None:
        group = self._state.group
        if group is None:
            return None
        modules = [(thing, inner) for thing in self._all("module") if (inner := thing.object()) is not None]
        wrappers = {
            self._things[thing.ref]: kind for thing, inner in modules for held, kind in group.wrapped if held() is inner
        }
        return GroupFacts(group.rank, group.world, group.backend, wrappers)

    def _module(self, thing: Thing) -> ModuleFacts:
        keys = thing.facts.get("parameters", ())
        known = [self._state.things.parameters[key] for key in keys]
        return ModuleFacts(
            name=self._things[thing.ref],
            type=thing.type,
            parameters=self._named(keys),
            trainable=self._named(entry.key for entry in known if entry.requires_grad),
            dropouts=thing.facts.get("dropouts", ()),
            batch_norms=thing.facts.get("batch_norms", ()),
            own_train=thing.facts.get("own_train", False),
            statistics_moved=_statistics_moved(thing),
        )

    def _parameter_facts(self) -> list[ParameterFacts]:
        return [
            ParameterFacts(
                name=self._parameters[known.key],
                module=self._things[known.owner[0]] if known.owner is not None else "",
                path=known.owner[1] if known.owner is not None else "",
                shape=known.shape,
                dtype=known.dtype,
                requires_grad=known.requires_grad,
                optimizers=tuple(self._things[ref] for ref in known.optimizers),
                first_seen=known.first_seen,
                changed=known.changed,
            )
            for known in self._state.things.parameters
        ]

    def _scheduler(self, thing: Thing) -> SchedulerFacts:
        facts = thing.facts
        owner = self._stepping(facts.get("optimizer"))
        return SchedulerFacts(
            name=self._things[thing.ref],
            type=thing.type,
            optimizer=self._things[owner] if owner is not None else None,
            location=thing.location,
            made=thing.made,
            settings=facts.get("settings", {}),
            base_lrs=facts.get("base_lrs", ()),
            factors=facts.get("factors", ()),
            peaks=facts.get("peaks", ()),
            ends_at=facts.get("ends_at"),
            part_of=self._holder(thing),
        )

    def _stepping(self, owner: Ref | None) -> Ref | None:
        """The optimizer that a scheduler's rates are for: one inside it that shares its groups, where it makes no step itself (SAM)."""
        outer = self._state.things.known[owner].object() if owner is not None else None
        if outer is None or self._state.updates.get(owner):
            return owner
        groups = {id(group) for group in outer.param_groups}
        for thing in self._all("optimizer"):
            inner = thing.object()
            if inner is not None and self._state.updates.get(thing.ref) and groups & {id(g) for g in inner.param_groups}:
                return thing.ref
        return owner

    def _holder(self, part: Thing) -> str | None:
        """The scheduler that holds another one."""
        wanted = part.object()
        for thing in self._all("scheduler"):
            held = vars(thing.object()).values() if thing is not part and thing.object() is not None else ()
            inside = (item for value in held for item in (value if isinstance(value, (list, tuple)) else (value,)))
            if wanted is not None and any(item is wanted for item in inside):
                return self._things[thing.ref]
        return None

    def _loader(self, name: str, thing: Thing) -> LoaderFacts:
        kept = {key: value for key, value in thing.facts.items() if key != "passes"}
        return LoaderFacts(name=name, location=thing.location, **kept)


def _add_backwards(drafts: list[Draft]) -> None:
    """Let each forward know the backwards that reached it."""
    found: dict[int, list[int]] = {}
    for draft in drafts:
        if draft.kind is Backward:
            for index in draft.fields.get("forwards", ()):
                found.setdefault(index, []).append(draft.index)
    for index, backwards in found.items():
        if drafts[index].kind is Forward:
            drafts[index].fields["backwards"] = tuple(backwards)


def _statistics_moved(thing: Thing) -> bool:
    module, before = thing.object(), thing.facts.get("statistics")
    return module is not None and before is not None and statistics_of(module) != before
