"""STP010: a mean loss is added up over several batches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint_rules.step._steps import at, named, stepped

if TYPE_CHECKING:
    from nnlint import Backward, Events, Step


@rule("STP010", "accumulation-not-averaged", level="info", since="0.1")
def check(events: Events) -> Iterator[Finding]:
    """Gradients of several batches are summed where each loss is a mean.

    ## What it does
    Reports steps that apply k backwards of the same line, on different batches, whose loss is a mean that is not divided by k. Losses
    that are sums, several losses of one batch, and losses of several lines are left alone.

    ## Why is this bad?
    The gradient is k times that of the mean over all samples, so that the learning rate is k times the one that was chosen
    (for optimizers that do not normalize it), and clipping cuts more.

    ## Example
        loss = loss_fn(model(x), y)
        loss.backward()
        if (i + 1) % 4 == 0: optimizer.step()

    ## Use instead
        loss = loss_fn(model(x), y) / 4
        loss.backward()
        if (i + 1) % 4 == 0: optimizer.step()

    ## References
    - PyTorch: "Automatic mixed precision examples", "Gradient accumulation"
    """
    for optimizer, steps in stepped(events, least=1):
        windows = [backwards for step in steps if (backwards := _window(events, step))]
        if not windows or 2 * len(windows) < len(steps):
            continue
        backwards = windows[-1]
        yield Finding(
            at=at(backwards[-1]),
            message=f"{named(optimizer)} applies the sum of {len(backwards)} backwards whose losses are means that are not divided by "
            f"{len(backwards)}: its gradient is {len(backwards)}x that of all their samples",
            evidence={"backwards": len(backwards), "factors": list(backwards[-1].factors)},
            fix=f"divide the loss by {len(backwards)} before `backward()`",
        )


def _window(events: Events, step: Step) -> list[Backward]:
    """The backwards of one line, each on a batch of its own, that a step sums without dividing; empty where it does not."""
    held = set(step.backwards)
    backwards = [event for event in events.backwards if event.index in held]
    if len(backwards) < 2 or step.closure or len({event.location for event in backwards}) > 1:
        return []
    if any(event.reduction != "mean" or not math.isclose(math.prod(event.factors), 1.0) for event in backwards):
        return []
    batches = {tuple(sorted(_reads(events, event))) for event in backwards}
    return backwards if len(batches) == len(backwards) else []


def _reads(events: Events, backward: Backward) -> set[int]:
    return {index for forward in events.forwards if forward.index in backward.forwards for index in forward.reads}
