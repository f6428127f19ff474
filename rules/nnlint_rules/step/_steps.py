"""What the rules of the training step share: which optimizers were judged, where an event is, how counts read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Place, Skip

if TYPE_CHECKING:
    from nnlint import Backward, Event, Events, OptimizerFacts, Step


def at(event: Event | None) -> Place:
    """The script's line of an event."""
    return Place("", event.location if event is not None else None)


def of(optimizer: OptimizerFacts) -> Place:
    """The script's line that made an optimizer."""
    return Place("", optimizer.location)


def stepped(events: Events, *, least: int = 2) -> Iterator[tuple[OptimizerFacts, tuple[Step, ...]]]:
    """The optimizers with at least so many steps, and their steps.

    Raises:
        Skip: none has.
    """
    found = [
        (facts, steps) for name, facts in events.optimizers.items() if len(steps := events.steps_of(name)) >= least
    ]
    if not found:
        raise Skip(f"no optimizer made {least} steps" if least > 1 else "no optimizer stepped")
    yield from found


def named(optimizer: OptimizerFacts) -> str:
    """`opt (Adam)`, or the class alone where the variable has no better name."""
    return optimizer.name if optimizer.name == optimizer.type else f"{optimizer.name} ({optimizer.type})"


def raised(event: Backward | None) -> dict[str, str]:
    """What a backward raised, as evidence: the script's end has the finding's cause then."""
    return {"raised": " ".join(event.error.split())} if event is not None and event.error else {}


def share(count: int, total: int) -> str:
    """`all 5 steps`, `3 of 5 steps`."""
    if count == total:
        return f"all {total} steps" if total > 1 else "the step"
    return f"{count} of {total} steps"
