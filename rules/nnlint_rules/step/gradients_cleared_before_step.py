"""STP002: gradients are thrown away between backward and step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from nnlint import Finding, Level, Pass, rule
from nnlint_rules.step._steps import at, named, share, stepped

if TYPE_CHECKING:
    from nnlint import Backward, Clear, Events, Step

    #: A step, the clearing before it, and the backwards that it threw away.
    _Lost: TypeAlias = tuple[Step, Clear, list[Backward]]


@rule("STP002", "gradients-cleared-before-step", level="error", since="0.1")
def check(events: Events) -> Iterator[Finding]:
    """Gradients are cleared after backward and before the step that should apply them.

    ## What it does
    Reports backwards whose gradients were cleared before any optimizer's step had used them: an error where the step then has
    nothing to apply, a warning where it applies only some of the backwards of its window (a `zero_grad()` inside the
    accumulation loop). Backwards that another optimizer's step used (the generator's part of a discriminator's loss),
    and those after which the parameters were changed before the gradients were cleared (sharpness-aware steps), are not lost.

    ## Why is this bad?
    The work of these backwards is for nothing. With all gradients gone the model does not train at all; with most of them gone it
    trains on a fraction of the data.

    ## Example
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()

    ## Use instead
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    ## References
    - PyTorch documentation, "Optimizing model parameters in PyTorch"
    """
    for optimizer, steps in stepped(events):
        own = optimizer.parameters
        emptied: list[_Lost] = []
        partial: list[_Lost] = []
        for before, step in zip([None, *steps], steps, strict=False):
            lost = _lost(events, own, before, step)
            if lost:
                (partial if step.gradients else emptied).append((step, *lost))
        if len(emptied) >= 2 or (emptied and len(emptied) == len(steps)):
            step, clear, backwards = emptied[-1]
            yield Finding(
                at=at(clear),
                message=f"{named(optimizer)} steps without gradients: they are cleared between backward and step "
                f"in {share(len(emptied), len(steps))} ({events.order(backwards[0], step)})",
                evidence={"steps": len(emptied), "of": len(steps), "backwards_lost": len(backwards)},
                fix=f"move `{optimizer.name}.zero_grad()` before `backward()`, or after `step()`",
            )
        elif partial:
            yield _partial(events, steps, partial, named(optimizer))


def _partial(events: Events, steps: tuple[Step, ...], partial: list[_Lost], name: str) -> Finding:
    """Some backwards of a window are thrown away; only once means the tail of an epoch."""
    step, cleared, backwards = partial[-1]
    applied, lost = len(step.backwards), len(backwards)
    # At an epoch's start a loop clears what the last, incomplete window left: a few batches an epoch.
    is_tail = all(
        any(end.ends for end in events.between(backward, clear, Pass))
        for _, clear, gone in partial
        for backward in gone
    )
    return Finding(
        at=at(cleared),
        level=Level.INFO if is_tail else Level.WARNING,
        message=f"{name} applies the gradients of {applied} of {applied + lost} backward passes: those of the others are cleared before "
        f"the step, in {share(len(partial), len(steps))}" + (" (the rest of a window at an epoch's end)" if is_tail else ""),
        evidence={"steps": len(partial), "of": len(steps), "backwards_applied": applied, "backwards_lost": lost},
        fix="clear the gradients once after each step, not after each batch",
    )


def _lost(events: Events, own: frozenset[str], before: Step | None, step: Step) -> tuple[Clear, list[Backward]] | None:
    """The last clearing between two steps that threw away backwards which should have been applied, and these backwards."""
    start = before.index if before is not None else -1
    clears = [clear for clear in events.clears if start < clear.index < step.index]
    found: dict[int, Backward] = {}
    last = None
    for clear in clears:
        gone = {index for name, held in events.unused(clear).items() if name in own for index in held}
        for backward in events.backwards_between(before, clear):
            if backward.index in gone - events.used_backwards and _is_wanted(events, own, backward, clear, step):
                found[backward.index] = backward
                last = clear
    return (last, list(found.values())) if last is not None else None


def _is_wanted(events: Events, own: frozenset[str], backward: Backward, clear: Clear, step: Step) -> bool:
    """Whether the step was meant to apply a backward that was cleared.

    Not where the parameters were moved with it first (SAM), nor where the step applies backwards of other lines only: then
    this one was made for something else (the gradient of the input, as adversarial training takes it).
    """
    moved = any(own & event.changed for event in events.steps if backward.index < event.index < clear.index)
    moved = moved or any(
        own & event.parameters for event in events.updates if backward.index < event.index <= clear.index
    )
    lines = {events.log[index].location for index in step.backwards}
    return not moved and not step.closure and (not lines or backward.location in lines)
