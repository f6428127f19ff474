"""STP011: a scheduler steps too early, or never."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Pass, Place, Skip, rule
from nnlint_rules.step._steps import at

if TYPE_CHECKING:
    from nnlint import Events, SchedulerFacts


@rule("STP011", "scheduler-order", level="warning", since="0.1")
def check(events: Events) -> Iterator[Finding]:
    """A learning-rate scheduler that steps before the optimizer's first step, or that is made and never stepped.

    ## What it does
    Reports a scheduler whose first `step()` comes before the first step of its optimizer, and one that was not stepped although a
    whole epoch was seen (its end and the beginning of the next). Schedulers that a trainer steps are seen like any other; those that
    another one holds (`SequentialLR`, a warm-up around a schedule) are its parts.

    ## Why is this bad?
    Stepped first, the schedule skips its first value: a warm-up starts too high, a decay one epoch early. Never stepped, the rate
    stays where the schedule starts; for a warm-up that is close to 0.

    ## Example
        for epoch in range(epochs):
            scheduler.step()
            train(model, optimizer)

    ## Use instead
        for epoch in range(epochs):
            train(model, optimizer)
            scheduler.step()

    ## References
    - PyTorch: `torch.optim`, "How to adjust learning rate"
    """
    if not events.schedulers:
        raise Skip("no scheduler was made")
    stepping = {name: events.steps_of(name) for name in events.optimizers}
    for name, scheduler in events.schedulers.items():
        steps = stepping.get(scheduler.optimizer or "", ())
        if not steps or scheduler.part_of is not None:
            continue
        calls = [event for event in events.schedules_of(scheduler.optimizer or "") if event.scheduler == name]
        if not calls and _whole_epoch(events, scheduler):
            rate = steps[-1].lr[0] if steps[-1].lr else None
            yield Finding(
                at=Place("", scheduler.location),
                message=f"{name} ({scheduler.type}) is never stepped: the learning rate stays at {rate:g} over {len(steps)} steps and an "
                "epoch's end"
                if rate is not None
                else f"{name} ({scheduler.type}) is never stepped",
                evidence={"steps": len(steps), "lr": rate},
                fix=f"call `{name}.step()` after each epoch, or after each step where its settings count steps",
            )
        elif calls and calls[0].index < steps[0].index:
            yield Finding(
                at=at(calls[0]),
                message=f"{name} ({scheduler.type}) steps before the optimizer's first step: the first value of the schedule "
                f"({calls[0].lr_before[0] if calls[0].lr_before else 0:g}) is skipped ({events.order(calls[0], steps[0])})",
                evidence={"lr_skipped": calls[0].lr_before[0] if calls[0].lr_before else None},
                fix=f"call `{name}.step()` after `optimizer.step()`",
            )


def _whole_epoch(events: Events, scheduler: SchedulerFacts) -> bool:
    """Whether a pass over a loader that the updates read ended, and training went on with another.

    A trainer that knows how many batches there are takes a pass that nnlint ended early for no whole epoch.
    """
    steps = events.steps_of(scheduler.optimizer or "")
    passes = (event for event in events.of(Pass) if event.ends and (event.by_script or not event.folded))
    ends = [event for event in passes if steps[0].index < event.index]
    return any(step.index > end.index for end in ends for step in steps)
