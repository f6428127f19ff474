"""STP013: an optimizer is recreated over its parameters, and its state is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Pass, Skip, rule
from nnlint_rules.step._steps import named, of

if TYPE_CHECKING:
    from nnlint import Events, OptimizerFacts

#: Times a line has to replace its own optimizer within one pass over the data.
_WITHIN_PASS = 2


@rule("STP013", "optimizer-recreated", level="warning", since="0.1")
def check(events: Events) -> Iterator[Finding]:
    """A new optimizer replaces one that had gathered momentum, epoch after epoch or batch after batch.

    ## What it does
    Reports a line that makes an optimizer again over the same parameters with the same settings, while the one before it kept
    state (momentum, averages of squares). A stage of its own (another line, other parameters, another learning rate), an optimizer
    without state, and parameters that were reset or loaded in between are not reported.

    ## Why is this bad?
    Adam's averages begin at zero again, with the large first steps of its bias correction; momentum never builds up. With one
    optimizer a batch, Adam is sign descent with a fixed step.

    ## Example
        for epoch in range(epochs):
            optimizer = torch.optim.Adam(model.parameters())

    ## Use instead
        optimizer = torch.optim.Adam(model.parameters())
        for epoch in range(epochs): ...

    ## References
    - Kingma and Ba (2015), "Adam: a method for stochastic optimization", section 3
    """
    if not events.steps:
        raise Skip("no optimizer stepped")
    lines: dict[object, list[OptimizerFacts]] = {}
    for optimizer in events.optimizers.values():
        if _replaces_its_like(events, optimizer):
            lines.setdefault(optimizer.location, []).append(optimizer)
    for again in lines.values():
        newest = again[-1]
        before = events.optimizers[newest.replaced or ""]
        ended = [event for event in events.between(events[before.made], events[newest.made], Pass) if event.ends]
        if not ended and len(again) < _WITHIN_PASS:
            continue
        steps = len(events.steps_of(before.name))
        yield Finding(
            at=of(newest),
            message=f"{named(before)} is recreated over its {len(newest.parameters)} parameters {_times(len(again))}: the state of its "
            f"{steps} steps is lost",
            evidence={"made_again": len(again), "steps_before": steps, "parameters": len(newest.parameters)},
            fix="make the optimizer once, before the loop",
        )


def _replaces_its_like(events: Events, optimizer: OptimizerFacts) -> bool:
    """Whether it takes the place of one with state, made by the same line for the same, and goes on where that one stopped."""
    if optimizer.replaced is None or not optimizer.replaced_state or optimizer.location is None:
        return False
    before = events.optimizers[optimizer.replaced]
    if (before.location, before.parameters, before.groups) != (
        optimizer.location,
        optimizer.parameters,
        optimizer.groups,
    ):
        return False
    steps = events.steps_of(before.name)
    if not steps or not events.steps_of(optimizer.name) or steps[-1].index > optimizer.made:
        return False  # both are in use
    changed = events.updates
    return not any(
        steps[-1].index < event.index <= optimizer.made and event.parameters & optimizer.parameters for event in changed
    )


def _times(count: int) -> str:
    return "once an epoch" if count == 1 else f"{count} times"
