"""STP004: gradients are computed and never applied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule
from nnlint_rules.step._steps import at, named, of

if TYPE_CHECKING:
    from nnlint import Events, OptimizerFacts

#: Backwards after which a step should have come; accumulation over more than these would look the same, and the message says so.
_ENOUGH = 4


@rule("STP004", "missing-step", level="error", since="0.1")
def check(events: Events) -> Iterator[Finding]:
    """An optimizer that never steps although backward fills the gradients of its parameters.

    ## What it does
    Judges each optimizer by itself: backwards fill the gradients of its parameters, iteration after iteration, and it never steps;
    nothing else changes these parameters either. Where the observation ended before a long accumulation could, the message says
    how many backwards were seen.

    ## Why is this bad?
    The parameters stay at their initial values. The loss still varies from batch to batch, so that a log looks like training.

    ## Example
        loss.backward()
        scheduler.step()

    ## Use instead
        loss.backward()
        optimizer.step()
        scheduler.step()

    ## References
    - PyTorch documentation, "Optimizing model parameters in PyTorch"
    """
    if not events.backwards:
        raise Skip("no backward pass ran")
    for name, optimizer in events.optimizers.items():
        filled = [event for event in events.backwards_of(name) if not event.error]
        if events.steps_of(name) or len(filled) < _ENOUGH or _is_stepped_otherwise(events, optimizer):
            continue
        trained = frozenset().union(*(event.filled for event in filled)) & optimizer.parameters
        yield Finding(
            at=of(optimizer) if optimizer.location is not None else at(filled[-1]),
            message=f"{named(optimizer)} never steps: {len(filled)} backwards fill the gradients of its {len(trained)} parameters, "
            f"and nothing changes them ({events.order(filled[-1], None) or 'backward'} -> step missing)",
            evidence={"backwards": len(filled), "parameters": len(trained), "steps": 0},
            fix=f"call `{name}.step()` after `backward()`"
            + (
                f"; if you accumulate over more than {len(filled)} batches, watch longer: --iterations"
                if _is_short(events)
                else ""
            ),
        )


def _is_short(events: Events) -> bool:
    """Whether the observation ended before the script did."""
    return events.end.reason in ("enough", "no updates")


def _is_stepped_otherwise(events: Events, optimizer: OptimizerFacts) -> bool:
    """Whether another optimizer, a scaler, or code by hand moves the same parameters."""
    by_hand = any(optimizer.parameters & event.parameters for event in events.updates)
    by_other = any(optimizer.parameters & step.changed for step in events.steps)
    by_scaler = any(call.call == "step" for call in events.scaler_calls_of(optimizer.name))
    is_replaced = any(other.replaced == optimizer.name for other in events.optimizers.values())
    return by_hand or by_other or by_scaler or is_replaced
