"""STP012: a schedule counts epochs and is stepped by batches, or the other way round."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, Pass, Skip, rule
from nnlint_rules.step._horizons import decay_after, end_of_schedule, horizon_in_settings, numbers, rises
from nnlint_rules.step._steps import at

if TYPE_CHECKING:
    from nnlint import Events, Loaders, Schedule, SchedulerFacts


class ScheduleUnitMismatch(Options):
    """Thresholds. No calibration: a rate below a thousandth of its start within one epoch trains nothing, whatever the model."""

    exhausted: float = Field(
        1e-3, description="factor of the rate after one epoch from which on it counts as exhausted"
    )


@rule("STP012", "schedule-unit-mismatch", level="warning", since="0.1")
def check(events: Events, loaders: Loaders, options: ScheduleUnitMismatch) -> Iterator[Finding]:
    """A scheduler whose settings count epochs is stepped at each batch, or the reverse.

    ## What it does
    Compares the horizon in the scheduler's settings with the number of *updates* an epoch has, both measured (accumulation counted in).
    Stepped at each update: reports a horizon that ends within the first epoch, and a decay that is exhausted by then. Stepped at
    each epoch: reports a horizon that is a multiple of the updates of an epoch.

    ## Why is this bad?
    A cosine over 90 "epochs" that is stepped by batches reaches 0 after 90 batches and then swings up and down. A one-cycle
    schedule over 10 000 steps that is stepped by epochs never leaves its warm-up.

    ## Example
        scheduler = CosineAnnealingLR(optimizer, T_max=epochs)
        for x, y in loader:
            train_step(x, y)
            scheduler.step()

    ## Use instead
        scheduler = CosineAnnealingLR(optimizer, T_max=epochs * len(loader))

    ## References
    - PyTorch: `torch.optim.lr_scheduler`
    """
    if not events.schedulers:
        raise Skip("no scheduler was made")
    for name, scheduler in events.schedulers.items():
        calls = [event for event in events.schedules_of(scheduler.optimizer or "") if event.scheduler == name]
        updates = _updates_an_epoch(events, loaders, scheduler)
        if not calls or updates is None:
            continue
        said = _by_updates(events, scheduler, calls, updates, options) or _by_epochs(events, scheduler, calls, updates)
        if said is not None:
            message, fix = said
            yield Finding(
                at=at(calls[-1]),
                message=f"{name} ({scheduler.type}) {message}",
                evidence={"updates_an_epoch": updates, **numbers(scheduler.settings)},
                fix=fix,
            )


def _by_updates(
    events: Events, scheduler: SchedulerFacts, calls: list[Schedule], updates: float, options: ScheduleUnitMismatch
) -> tuple[str, str] | None:
    """Stepped about once an update, although its settings end within an epoch."""
    steps = events.steps_of(scheduler.optimizer or "")
    between = [step for step in steps if calls[0].index < step.index < calls[-1].index]
    if len(calls) < 2 or len(between) > 1.5 * (len(calls) - 1) or updates < 2:
        return None
    horizon = horizon_in_settings(scheduler.settings) or end_of_schedule(events, scheduler)
    if horizon is not None and 1 < horizon < updates and not rises(scheduler.settings):
        return (
            f"is stepped at each update, and its horizon of {horizon:g} ends within the first epoch of {updates:g} updates",
            f"step it once an epoch, or give it the horizon in updates: {horizon:g} * {updates:g}",
        )
    factor = decay_after(scheduler.settings, updates)
    if factor is not None and factor < options.exhausted:
        return (
            f"is stepped at each update: after one epoch of {updates:g} updates the rate is {factor:.2g}x its start",
            "step it once an epoch, or choose gamma and step_size for updates",
        )
    return None


def _by_epochs(
    events: Events, scheduler: SchedulerFacts, calls: list[Schedule], updates: float
) -> tuple[str, str] | None:
    """Stepped once an epoch, although its settings count updates."""
    steps = events.steps_of(scheduler.optimizer or "")
    before = [step for step in steps if step.index < calls[0].index]
    horizon = end_of_schedule(events, scheduler)
    ends = [event for event in events.of(Pass) if event.ends and event.index < calls[0].index]
    if not ends or len(before) < 2 or not isinstance(horizon, (int, float)) or updates < 4:
        return None
    if horizon < 2 * updates or abs(horizon / updates - round(horizon / updates)) > 1e-6:
        return None
    return (
        f"is stepped once an epoch, and its horizon of {horizon:g} is {horizon / updates:g} times the {updates:g} updates of an epoch",
        "step it after each `optimizer.step()`, or give it the horizon in epochs",
    )


def _updates_an_epoch(events: Events, loaders: Loaders, scheduler: SchedulerFacts) -> float | None:
    """Batches of the training loader over the batches that one update takes."""
    sizes = [loader.batches for loader in loaders.training if loader.batches]
    steps = [step for step in events.steps_of(scheduler.optimizer or "") if step.backwards and not step.closure]
    if len(sizes) != 1 or not steps:
        return None
    window = max(1, *(len(step.backwards) for step in steps))
    return sizes[0] / window
