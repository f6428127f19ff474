"""STP003: the optimizer steps between forward and backward."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint_rules.step._steps import at, named, share, stepped

if TYPE_CHECKING:
    from nnlint import Backward, Events, Forward, Step

_IN_PLACE = "modified by an inplace operation"


@rule("STP003", "step-before-backward", level="error", since="0.1")
def check(events: Events) -> Iterator[Finding]:
    """The step comes before the backward of its iteration.

    ## What it does
    Reports an optimizer whose step runs after the forward of an iteration and before its backward, iteration after iteration: it has no
    gradient yet, or applies that of the batch before. A forward that is older than the last backward of these parameters (fake
    images that two players share) is not reported.

    ## Why is this bad?
    With `zero_grad()` at the top of the loop, the step has nothing to apply and the model does not train. Without it, each
    batch's gradient is applied one iteration late, to parameters it was not computed for.

    ## Example
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        optimizer.step()
        loss.backward()

    ## Use instead
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()

    ## References
    - PyTorch documentation, "Optimizing model parameters in PyTorch"
    """
    for optimizer, steps in stepped(events, least=1):
        early = [
            (step, *late)
            for step, after in pairwise([*steps, None])
            if step is not None
            if (late := _late(events, step, after))
        ]
        broke = events.end.error is not None and _IN_PLACE in events.end.error
        if not early or (len(early) < 2 and not broke) or 2 * len(early) < len(steps):
            continue
        step, forward, backward = early[-1]
        ending = " -> backward" if backward is None else ""
        yield Finding(
            at=at(step),
            message=f"{named(optimizer)} steps before the backward of its iteration, in {share(len(early), len(steps))} "
            f"({events.order(forward, backward or step)}{ending}): "
            + ("it applies the gradients of the batch before" if step.gradients else "it has no gradients to apply"),
            evidence={
                "steps": len(early),
                "of": len(steps),
                "gradients": len(step.gradients),
                **({"raised": " ".join(f"{events.end.error_type}: {events.end.error}".split())} if broke else {}),
            },
            fix=f"call `{optimizer.name}.step()` after `loss.backward()`",
        )


def _late(events: Events, step: Step, after: Step | None) -> tuple[Forward, Backward | None] | None:
    """The forward whose backward comes only after the step, and this backward (None where it raised)."""
    own = events.optimizers[step.optimizer].parameters
    filling = [event for event in events.backwards_of(step.optimizer) if event.index < step.index]
    last = filling[-1].index if filling else -1
    for forward in events.forwards_of(step.optimizer):
        if not last < forward.index < step.index or not forward.records_graph or step.closure:
            continue
        for backward in events.backwards_between(step, after):
            if forward.index in backward.forwards and (own & backward.filled or backward.error):
                return forward, backward
    return None
