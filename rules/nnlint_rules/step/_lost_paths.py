"""Parts of the path from a loss to an optimizer's parameters that are missing: a summand without a graph, a network cut off."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Place
from nnlint_rules.step._steps import at, named

if TYPE_CHECKING:
    from nnlint import Events, OptimizerFacts, Step

#: Steps over which a network is never reached.
_ENOUGH = 3


def rebuilt_term(events: Events, optimizer: OptimizerFacts, steps: tuple[Step, ...]) -> Finding | None:
    """A summand without a graph, beside parameters whose outputs are computed with one and that never get a gradient."""
    used = frozenset(index for step in steps for index in step.backwards)
    backwards = [event for event in events.backwards if event.index in used]
    lines = {line: event for event in backwards for line in event.graphless}
    recorded = frozenset().union(*(event.recorded for event in events.forwards if event.training))
    reached = frozenset().union(*(event.filled | (event.reached or frozenset()) for event in events.backwards))
    lost = {name for name in (recorded & optimizer.parameters) - reached if events.parameters[name].requires_grad}
    if not lines or not lost or len(steps) < _ENOUGH or any(event.reached is None for event in backwards):
        return None
    line, backward = next(iter(lines.items()))
    shown = sorted(lost)
    return Finding(
        at=Place("", line),
        message=f"this summand of the loss of {events.order(backward, backward)} has no graph: {', '.join(shown[:3])}"
        f"{f' and {len(shown) - 3} more' if len(shown) > 3 else ''} get no gradient in {len(steps)} steps",
        evidence={"parameters": len(lost), "steps": len(steps)},
        fix="compute it from the tensor that the model returned, without `.item()`, `.detach()`, NumPy or values stored under `no_grad`",
    )


def cut_off(events: Events, optimizer: OptimizerFacts, steps: tuple[Step, ...]) -> Iterator[Finding]:
    """Networks whose parameters the optimizer holds, that run for each step, and that no backward reaches."""
    reached = frozenset().union(*(backward.filled | (backward.reached or frozenset()) for backward in events.backwards))
    for name, module in events.modules.items():
        own = module.trainable & optimizer.parameters
        calls = [event for event in events.forwards if event.module == name]
        runs = [event for event in calls if event.training and event.grad_enabled and event.records_graph]
        if len(steps) < _ENOUGH or not own or own & reached or any(event.backwards for event in calls):
            continue
        ends = [-1, *(step.index for step in steps)]
        if all(any(low < event.index < high for event in runs) for low, high in pairwise(ends)):
            yield Finding(
                at=at(runs[-1]),
                level=Level.WARNING,
                message=f"the output of {name} reaches no loss: {named(optimizer)} holds {len(own)} of its parameters, and no backward of "
                f"{len(steps)} steps gives them a gradient",
                evidence={"parameters": len(own), "steps": len(steps)},
                fix=f"pass the tensor that {name} returned on as it is: no `.detach()`, `.item()`, `.tolist()`, NumPy or "
                "`torch.tensor(...)` in between; freeze it with `requires_grad_(False)` where that is meant",
            )
