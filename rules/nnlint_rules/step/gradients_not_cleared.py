"""STP001: an update applies gradients of earlier updates again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint_rules.step._steps import at, named, share, stepped

if TYPE_CHECKING:
    from nnlint import Events, Step


@rule("STP001", "gradients-not-cleared", level="error", since="0.1", explains=["STP010"])
def check(events: Events) -> Iterator[Finding]:
    """Gradients of earlier steps are still there when the optimizer steps again.

    ## What it does
    Follows for each parameter which backwards its gradient holds, by value: however gradients are cleared (`zero_grad()`,
    `p.grad = None`, a trainer of its own), a cleared gradient holds none. Reports an optimizer whose step uses gradients that its
    previous step had already applied. Accumulation over several backwards without a step in between is not reported.

    ## Why is this bad?
    `backward()` adds to `.grad`. Without clearing, the third step applies the sum of three gradients, the tenth of ten: an
    uncontrolled momentum with a growing rate. The loss falls at first, then oscillates or diverges.

    ## Example
        for x, y in loader:
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()

    ## Use instead
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()

    ## References
    - PyTorch recipe, "Zeroing out gradients in PyTorch"
    """
    for optimizer, steps in stepped(events):
        stale = [(before, step) for before, step in pairwise(steps) if _held_again(before, step)]
        if 2 * len(stale) < len(steps) - 1 or not stale:
            continue
        before, step = stale[-1]
        held = _held_again(before, step)
        first = next(iter(events.backwards_between(before, step)), None)
        yield Finding(
            at=at(step),
            message=f"{named(optimizer)} applies gradients that its previous step already applied: {len(held)} of "
            f"{len(step.gradients)} gradients in {share(len(stale), len(steps) - 1)} after the first "
            f"({events.order(first or step, step)} -> zero_grad missing)",
            evidence={
                "steps": len(stale),
                "of": len(steps) - 1,
                "gradients": len(held),
                "backwards_held": max(len(step.gradients[name]) for name in held),
            },
            fix=f"call `{optimizer.name}.zero_grad()` before `backward()` in each iteration",
        )


def _held_again(before: Step, step: Step) -> list[str]:
    """The parameters whose gradient holds a backward that the step before had applied."""
    return [name for name, held in step.gradients.items() if set(held) & set(before.gradients.get(name, ()))]
