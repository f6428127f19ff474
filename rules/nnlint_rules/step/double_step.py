"""STP022: one backward is followed by two steps of the same optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint_rules.step._steps import at, named, stepped

if TYPE_CHECKING:
    from nnlint import Events, Step


@rule("STP022", "double-step", level="warning", since="0.1", explains=["STP001", "STP009"])
def check(events: Events) -> Iterator[Finding]:
    """One backward is followed by two steps of the same optimizer.

    ## What it does
    Reports an optimizer that steps twice on the very same gradients, with no backward in between: a trainer's step and the
    script's own, or `scaler.step(optimizer)` and `optimizer.step()`. Closures (LBFGS) and steps of several optimizers are not reported.

    ## Why is this bad?
    Each gradient is applied twice: the learning rate is doubled, momentum counts each batch twice, and schedules and bias
    corrections run at twice their pace.

    ## Example
        scaler.step(optimizer)
        optimizer.step()

    ## Use instead
        scaler.step(optimizer)

    ## References
    - PyTorch notes, "Automatic mixed precision examples"
    """
    for optimizer, steps in stepped(events):
        twice = [pair for pair in pairwise(steps) if _on_the_same(*pair)]
        if not twice or 3 * len(twice) < len(steps) - 1:
            continue
        first, second = twice[-1]
        backward = events[max(first.backwards)]
        yield Finding(
            at=at(second),
            message=f"{named(optimizer)} steps twice on the same {len(second.gradients)} gradients, {len(twice)} times "
            f"({events.order(backward, second)})",
            evidence={"times": len(twice), "steps": len(steps)},
            fix="remove one of the two calls of `step`",
        )


def _on_the_same(first: Step, second: Step) -> bool:
    same = first.gradients.keys() & second.gradients.keys()
    is_same = bool(same) and all(first.gradients[name] == second.gradients[name] for name in same)
    return is_same and not first.closure and not second.closure
