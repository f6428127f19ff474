"""Watches optimizers: their making, clearing, clipping, steps; and the scalers and schedulers that go with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from nnlint.observation.backwards import Backwards
from nnlint.observation.content import Sample, digest_of_random_states, needs_gradients
from nnlint.observation.events import Backward, Clip, Made, ScalerCall, Schedule, Step
from nnlint.observation.forwards import Forwards
from nnlint.observation.group import Group
from nnlint.observation.journal import Draft, Held, Keys, Measured
from nnlint.observation.schedules import settings_of
from nnlint.observation.state import State
from nnlint.observation.things import script_line
from nnlint.tensors import is_strided


@dataclass
class _Running:
    """A step that has begun."""

    optimizer: torch.optim.Optimizer
    draft: Draft
    before: Sample


@dataclass
class Steps:
    """Makes `Step`, `Clear`, `Clip`, `Schedule` and `ScalerCall` events."""

    state: State
    backwards: Backwards
    forwards: Forwards
    _running: list[_Running] = field(default_factory=list)
    _schedules: dict[int, int] = field(default_factory=dict)

    # ---------------------------------------------------------------- optimizers

    def made(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer was made."""
        thing = self.state.optimizer(optimizer)
        thing.location = script_line()
        thing.facts["groups"] = tuple(_numbers(group) for group in optimizer.param_groups)
        self.state.note(Made, what="optimizer", name=thing.ref)

    def begins(self, optimizer: torch.optim.Optimizer, arguments: tuple[Any, ...]) -> None:
        """A step begins."""
        state = self.state
        if self._running and self._running[-1].optimizer is optimizer:
            self._running.pop()  # it raised
        if state.in_backward:
            self.backwards.note_inner()
        else:
            self.backwards.note_cleared()
        thing = state.things.named(state.optimizer(optimizer), optimizer)
        if not self._running:
            self.forwards.note_hand_updates()
        if state.taker is not None:
            state.taker.step_begins(optimizer)
        thing.facts.setdefault("groups", tuple(_numbers(group) for group in optimizer.param_groups))
        own = state.parameters_of(optimizer)
        known = {key: state.things.parameters[key] for key in own}
        number = thing.facts["steps"] = thing.facts.get("steps", 0) + 1
        draft: Draft = state.note(
            Step,
            optimizer=thing.ref,
            number=number,
            closure=any(callable(argument) for argument in arguments),
            gradients=Held({key: entry.held for key, entry in known.items() if entry.held}),
            without_gradient=Keys(key for key, entry in known.items() if not entry.held),
            lr=_rates(optimizer),
            gradient_norm=state.gradient_norm.of(tensor.grad for tensor in own.values() if tensor.grad is not None),
            scale=state.scale_on(thing.ref),
            random_state=digest_of_random_states(),
        )
        self._running.append(_Running(optimizer, draft, self._before(own)))
        state.journal.open(draft)

    def _before(self, own: dict[int, Tensor]) -> Sample:
        """The parameters as the step begins: those that were looked at just now, unless entries have to be chosen by gradient."""
        gradients = {key: tensor.grad for key, tensor in own.items()}
        values = self.state.values
        if values is not None and not self._running and own.keys() <= values.keys and not needs_gradients(gradients):
            return values
        return Sample(own, gradients)

    def ends(self, optimizer: torch.optim.Optimizer) -> bool:
        """A step has ended; whether it was an outermost one."""
        running = next((found for found in reversed(self._running) if found.optimizer is optimizer), None)
        if running is None:
            return False
        del self._running[self._running.index(running) :]
        state, draft = self.state, running.draft
        ran_backward = any(found.kind is Backward for found in state.journal.drafts[draft.index :])
        if draft.fields["closure"] or ran_backward:
            self._look_again(draft, optimizer)
        own = self.state.parameters_of(optimizer).keys()
        # Those whose memory cannot be read are taken to follow their gradients.
        unread = frozenset(draft.fields["gradients"]) - running.before.keys
        changed = (running.before.changed() & own) | unread
        draft.fields["changed"] = Keys(changed)
        state.mark_changed(changed)
        if state.is_grouped:
            state.group = state.group or Group.current()
            draft.fields["norms"] = _norms(optimizer, state)
        draft.fields["alive"], draft.fields["alive_forwards"] = state.alive.now()
        state.things.known[draft.fields["optimizer"]].facts["keeps_state"] = _keeps_state(optimizer)
        state.journal.close(draft)
        if running.before is state.values:
            state.renew_values()
        else:
            state.note_values()
        if self._running:
            return False
        state.note_update(draft.fields["optimizer"])
        if state.taker is not None:
            state.taker.stepped(optimizer)
        return True

    def _look_again(self, draft: Draft, optimizer: torch.optim.Optimizer) -> None:
        """A step with a closure applies what its last backward left."""
        draft.fields["closure"] = True
        known = [self.state.things.parameters[key] for key in self.state.parameters_of(optimizer)]
        held = {entry.key: entry.held for entry in known if entry.held}
        if held:
            draft.fields["gradients"] = Held(held)
            draft.fields["without_gradient"] = Keys(entry.key for entry in known if not entry.held)

    def cleared(self, owner: Any) -> None:
        """`zero_grad` of an optimizer or a module has run."""
        thing = self.state.things.find(owner)
        self.backwards.note_cleared(by=thing.ref if thing is not None else None)

    # ---------------------------------------------------------------- clipping

    def clips(self, parameters: list[Tensor], *, how: str, limit: float) -> None:
        """Gradients are about to be clipped."""
        state = self.state
        self.backwards.note_cleared()
        known = [found for parameter in parameters if (found := state.things.lookup(parameter)) is not None]
        state.note(
            Clip,
            how=how,
            parameters=Keys(entry.key for entry in known),
            limit=limit,
            norm=state.gradient_norm.of(parameter.grad for parameter in parameters if parameter.grad is not None),
            held=Held({entry.key: entry.held for entry in known if entry.held}),
            scale=state.scale_on(*dict.fromkeys(ref for entry in known for ref in entry.optimizers)),
        )

    def clipped(self) -> None:
        """The gradients' new versions are not mistaken for a backward."""
        self.backwards.note_cleared()

    # ---------------------------------------------------------------- schedulers and scalers

    def scheduler_made(self, scheduler: Any) -> None:
        """A scheduler was made, its base's part of it or all; its first step, which torch makes itself, is no event."""
        thing = self.state.things.of("scheduler", scheduler, made=len(self.state.journal.drafts))
        thing.location = script_line()
        is_known = "optimizer" in thing.facts
        thing.facts |= {**settings_of(scheduler), "optimizer": self._optimizer_of(scheduler)}
        self.state.kept[thing.ref] = scheduler
        if is_known:
            return
        self.state.note(Made, what="scheduler", name=thing.ref)

    def _optimizer_of(self, scheduler: Any) -> Any:
        """The optimizer is matched by its groups: a scheduler may hold a wrapper around it."""
        groups = getattr(getattr(scheduler, "optimizer", None), "param_groups", None)
        if not groups or not groups[0]["params"]:
            return None
        for thing in self.state.things.known:
            found = thing.object() if thing.what == "optimizer" else None
            if found is not None and any(group is groups[0] for group in found.param_groups):
                return thing.ref
        known = self.state.things.lookup(groups[0]["params"][0])
        return next(reversed(known.optimizers), None) if known is not None else None

    def scheduled(self, scheduler: Any, before: tuple[float, ...]) -> None:
        """A scheduler has stepped."""
        thing = self.state.things.of("scheduler", scheduler, made=len(self.state.journal.drafts))
        self.state.things.named(thing, scheduler)
        if "optimizer" not in thing.facts:
            thing.facts |= {**settings_of(scheduler), "optimizer": self._optimizer_of(scheduler)}
        number = self._schedules[thing.ref] = self._schedules.get(thing.ref, 0) + 1
        rates = rates_of(scheduler)
        optimizer = thing.facts["optimizer"]
        self.state.note(
            Schedule, scheduler=thing.ref, optimizer=optimizer, number=number, lr_before=before, lr_after=rates
        )

    def scaler_made(self, scaler: Any) -> None:
        """A scaler was made."""
        self.state.things.of("scaler", scaler, made=len(self.state.journal.drafts), location=script_line())

    def scaler_called(self, scaler: Any, call: str, optimizer: Any, factor: float) -> Draft:
        """A scaler's method begins."""
        state = self.state
        thing = state.things.of("scaler", scaler, made=len(state.journal.drafts), location=script_line())
        thing.facts.setdefault("enabled", bool(scaler.is_enabled()))
        state.things.named(thing, scaler)
        own = state.things.find(optimizer) if optimizer is not None else None
        ref = own.ref if own is not None else None
        draft: Draft = state.note(ScalerCall, scaler=thing.ref, call=call, optimizer=ref, factor=factor)
        if call == "step" and ref is not None:
            state.unscaled.add(ref)  # it unscales, or lets a fused step do it
            state.journal.open(draft)
        return draft

    def scaler_returned(self, draft: Draft, error: BaseException | None) -> None:
        """A scaler's method ended: whether a step was skipped is seen from the log."""
        state, call = self.state, draft.fields["call"]
        state.journal.close(draft)
        if error is not None:
            draft.fields["error"] = f"{type(error).__name__}: {error}"
        elif call == "scale":
            state.loss_scale = draft.fields["factor"]
        elif call == "unscale":
            state.unscaled.add(draft.fields["optimizer"])
            self.backwards.note_cleared()
        elif call == "step":
            later = state.journal.drafts[draft.index + 1 :]
            draft.fields["skipped"] = not any(found.kind is Step for found in later)


def _keeps_state(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it holds more of its past than a count of steps: momentum, averages of squares."""
    kept = (value for entry in optimizer.state.values() if isinstance(entry, Mapping) for value in entry.values())
    return any(isinstance(value, Tensor) and value.numel() > 1 for value in kept)


def _norms(optimizer: torch.optim.Optimizer, state: State) -> Measured:
    """1-norms of an optimizer's parameters, for a comparison across ranks."""
    tensors = [tensor for group in optimizer.param_groups for tensor in group["params"] if is_strided(tensor)]
    found = ((state.things.lookup(tensor), tensor) for tensor in tensors)
    return Measured({known.key: float(tensor.detach().double().abs().sum()) for known, tensor in found if known})


def _numbers(group: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of a parameter group that are plain values."""
    kept = {
        name: value for name, value in group.items() if isinstance(value, (int, float, bool, str, tuple, type(None)))
    }
    lr = group.get("lr")
    return {**kept, "lr": float(lr)} if lr is not None else kept


def _rates(optimizer: Any) -> tuple[float, ...]:
    return tuple(float(group["lr"]) for group in optimizer.param_groups if "lr" in group)


def rates_of(scheduler: Any) -> tuple[float, ...]:
    """The rates of the groups that a scheduler sets."""
    optimizer = getattr(scheduler, "optimizer", None)
    return _rates(optimizer) if optimizer is not None else ()
