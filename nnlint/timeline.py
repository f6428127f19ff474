"""The observed iterations of a training script as plain values, for the report: what happened when, at which line, for which optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nnlint.describe import number, shown_file
from nnlint.observation.events import (
    Backward,
    Clear,
    Clip,
    Event,
    Forward,
    Made,
    Mode,
    Names,
    ScalerCall,
    Schedule,
    Seed,
    StateKept,
    Step,
    Update,
)
from nnlint.observation.reads import Pass, Read

if TYPE_CHECKING:
    from nnlint.observation.log import Events

#: More events than these are cut: nobody looks at them, and the page has to stay small.
_MOST_EVENTS = 600

_KINDS: Mapping[type[Event], str] = {
    Read: "read",
    Pass: "end of pass",
    Forward: "forward",
    Backward: "backward",
    Clip: "clip",
    ScalerCall: "scaler",
    Step: "step",
    Clear: "zero_grad",
    Schedule: "scheduler.step",
    Update: "update",
    Mode: "mode",
    Seed: "seed",
    StateKept: "state_dict",
    Made: "made",
}


def timeline_of(events: Events) -> dict[str, Any]:
    """The `timeline` of the report's measurements; empty where nothing was observed.

    `lanes` are the optimizers that took part; each event names those that it concerns, none where it concerns the whole script.
    Its other keys depend on its kind: the loss of a backward, the rates of a step.
    """
    began = next((event.index for event in events if isinstance(event, (Read, Forward))), None)
    if began is None:
        return {}
    shown = [event for event in events if _is_shown(event, began)]
    evaluating = {event.index for event in events.evaluation_forwards}
    rows = [_row(event, events, evaluating) for event in shown[:_MOST_EVENTS]]
    taking_part = {name for row in rows for name in row["lanes"]}
    lanes = [{"optimizer": facts.name, "type": facts.type} for facts in events.optimizers.values()]
    return {
        "lanes": [lane for lane in lanes if lane["optimizer"] in taking_part],
        "events": rows,
        "left_out": len(shown) - len(rows),
        "end": events.end.reason,
    }


def _is_shown(event: Event, began: int) -> bool:
    """Whether it is part of the loop: what the script made before it, and where a pass begins, is not shown."""
    if isinstance(event, (Made, Seed, Mode)):
        return event.index > began
    return not isinstance(event, Pass) or event.ends


def _row(event: Event, events: Events, evaluating: set[int]) -> dict[str, Any]:
    place = event.location
    row: dict[str, Any] = {
        "kind": "autograd.grad" if isinstance(event, Backward) and not event.accumulates else _KINDS[type(event)],
        "iteration": event.iteration,
        "epoch": event.epoch,
        "line": f"{shown_file(place)}:{place.line}" if place is not None else None,
        "lanes": list(_lanes(event, events)),
    }
    facts = _facts(event) | ({"evaluation": True} if event.index in evaluating else {})
    return row | {name: value for name, value in facts.items() if value is not None and value != []}


def _lanes(event: Event, events: Events) -> tuple[str, ...]:
    """The optimizers that an event concerns, in the order of making."""
    if isinstance(event, Backward):
        return event.optimizers or _holders(event.reached or frozenset(), events)
    if isinstance(event, (Step, Schedule, ScalerCall)):
        return (event.optimizer,) if event.optimizer is not None else ()
    if isinstance(event, Forward):
        reached = {name for index in event.backwards for name in _lanes(events[index], events)}
        if reached:
            return tuple(name for name in events.optimizers if name in reached)
        return _holders(events.modules[event.module].parameters, events)
    if isinstance(event, (Clear, Clip, Update)):
        return _holders(event.parameters, events)
    return ()


def _holders(parameters: Names, events: Events) -> tuple[str, ...]:
    return tuple(name for name, facts in events.optimizers.items() if facts.parameters & parameters)


def _facts(event: Event) -> dict[str, Any]:
    """What is told of an event beside its place."""
    if isinstance(event, Forward):
        return {
            "module": event.module,
            "training": event.training,
            "no_grad": None if event.grad_enabled else True,
            "samples": event.samples or None,
            "error": event.error,
        }
    if isinstance(event, Backward):
        return {"loss": number(event.loss), "gradient_norm": number(event.gradient_norm), "error": event.error}
    if isinstance(event, Step):
        rates = list(dict.fromkeys(number(rate) for rate in event.lr))
        return {"lr": rates, "gradient_norm": number(event.gradient_norm), "number": event.number}
    return _facts_of_the_rest(event)


def _facts_of_the_rest(event: Event) -> dict[str, Any]:
    if isinstance(event, Clip):
        return {"how": event.how, "limit": number(event.limit), "gradient_norm": number(event.norm)}
    if isinstance(event, Schedule):
        rates = list(dict.fromkeys(number(rate) for rate in event.lr_after))
        return {"scheduler": event.scheduler, "lr": rates}
    if isinstance(event, ScalerCall):
        return {"call": event.call, "factor": number(event.factor), "skipped": event.skipped or None}
    if isinstance(event, Read):
        return {"loader": event.loader, "number": event.number}
    if isinstance(event, Pass):
        return {"loader": event.loader, "batches": event.batches, "ended_early": event.folded or None}
    if isinstance(event, Mode):
        return {"module": event.module, "training": event.training}
    if isinstance(event, Made):
        return {"what": event.what, "name": event.name}
    if isinstance(event, Seed):
        return {"what": event.what, "value": event.value}
    return {"by": event.by} if isinstance(event, (Clear, Update)) else {}
