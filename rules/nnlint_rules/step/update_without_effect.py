"""STP005: steps that change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule
from nnlint_rules.step._steps import at, named, of

if TYPE_CHECKING:
    from nnlint import Events, OptimizerFacts, Step


#: What is said, and done, where the forward reads other parameters than the optimizer holds.
_NOT_READ = (
    "no forward reads its parameters",
    "make `{name}` from the parameters of the model that is trained, after it was moved, cast or rebuilt",
)
#: Steps after which a network that no optimizer holds is no accident.
_ENOUGH = 3


@rule("STP005", "update-without-effect", level="error", since="0.1")
def check(events: Events) -> Iterator[Finding]:
    """Optimizer steps after which no parameter of the forward has changed.

    ## What it does
    Compares the parameters before and after each step. Reports an optimizer none of whose observed steps changed anything, and
    says why: its learning rate is 0, its gradients are zero, its parameters are not those that the forward reads (it was made for a
    copy, or before the model was moved, cast or rebuilt), or the gradient scaler skips every step. Also reports an optimizer before
    each of whose steps a backward fills a network that no optimizer holds and nothing changes: it was given another network's
    parameters.

    ## Why is this bad?
    The model does not train, and nothing raises.

    ## Example
        optimizer = torch.optim.SGD(copy.deepcopy(model).parameters(), lr=0.1)

    ## Use instead
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    ## References
    - PyTorch documentation, `torch.optim`, "Constructing it"
    """
    if not events.steps and not any(
        call.call == "step" for name in events.optimizers for call in events.scaler_calls_of(name)
    ):
        raise Skip("no optimizer stepped")
    for name, optimizer in events.optimizers.items():
        steps = events.steps_of(name)
        wrong = _holds_another(events, optimizer, steps)
        if wrong is not None:
            yield wrong
            continue
        found = _skipped_by_scaler(events, optimizer) if not steps else _cause(events, optimizer, steps)
        if found is None:
            continue
        why, fix = found
        yield Finding(
            at=of(optimizer) if optimizer.location is not None else at(steps[-1] if steps else None),
            message=f"no step of {named(optimizer)} changes a parameter ({len(steps) or 'no'} steps seen): {why}",
            evidence={"steps": len(steps), "parameters": len(optimizer.parameters), "changed": 0},
            fix=fix,
        )


def _holds_another(events: Events, optimizer: OptimizerFacts, steps: tuple[Step, ...]) -> Finding | None:
    """The backward before each step fills parameters that no optimizer holds and nothing changes.

    And none of this one's, or those of this one are all held by an optimizer that was made before it.
    """
    others = [other for other in events.optimizers.values() if other.made < optimizer.made and events.steps_of(other.name)]
    is_twin = any(other.parameters == optimizer.parameters for other in others)
    if len(steps) < _ENOUGH:
        return None
    meant: frozenset[str] = frozenset()
    for step in steps:
        before = [other for other in events.steps if other.index < step.index]
        made = [event for event in events.backwards_between(before[-1] if before else None, step) if not event.error]
        own = any(event.filled & optimizer.parameters for event in made)
        if step.closure or not made or (own and not is_twin):
            return None
        meant |= made[-1].filled - optimizer.parameters
    facts = [events.parameters[name] for name in meant]
    if not facts or any(known.optimizers or known.changed for known in facts):
        return None
    network = ", ".join(sorted({known.module for known in facts if known.module}))
    return Finding(
        at=of(optimizer) if optimizer.location is not None else at(steps[-1]),
        message=f"{named(optimizer)} holds none of the {len(facts)} parameters of {network or 'the network'} that the backward before "
        f"each of its {len(steps)} steps fills: no optimizer holds them, and they never change",
        evidence={"steps": len(steps), "parameters": len(facts)},
        fix=f"make `{optimizer.name}` from the parameters of {network or 'the network that this loss trains'}",
    )


def _cause(events: Events, optimizer: OptimizerFacts, steps: tuple[Step, ...]) -> tuple[str, str] | None:
    if len(steps) < 2 or any(step.changed for step in steps):
        return None
    if not events.took_part(optimizer.name):
        return _NOT_READ[0], _NOT_READ[1].format(name=optimizer.name)
    if all(rate == 0.0 for step in steps for rate in step.lr):
        return "its learning rate is 0", "set a learning rate above 0, or let the schedule start above 0"
    applied = [step for step in steps if step.gradients]
    if len(applied) < 2:
        return None  # no gradients at all: STP002, STP003 or STP006 name the cause
    if all(step.gradient_norm == 0.0 for step in applied):
        return (
            "all gradients are exactly zero",
            "find what stops the gradient: an operation without derivative, a factor of 0, units that are all off",
        )
    tiny = max(rate for step in steps for rate in step.lr)
    return (
        f"updates with the learning rate {tiny:g} are lost in rounding" if tiny else "its learning rate is 0",
        "raise the learning rate, or keep the weights in float32",
    )


def _skipped_by_scaler(events: Events, optimizer: OptimizerFacts) -> tuple[str, str] | None:
    """More skips in a row than a scaler needs to find its factor: 2^16 halves to 1 in sixteen steps."""
    calls = [call for call in events.scaler_calls_of(optimizer.name) if call.call == "step"]
    if calls and "inf checks" in (calls[-1].error or "") and not events.took_part(optimizer.name):
        return _NOT_READ[0], _NOT_READ[1].format(name=optimizer.name)
    factors = [call.factor for call in calls]
    if len(calls) < 4 or not all(call.skipped for call in calls) or factors[-1] < factors[0]:
        return None
    return (
        f"the gradient scaler skips every step, and its factor stays at {factors[-1]:g}",
        "find the non-finite gradient (torch.autograd.set_detect_anomaly), and call `scaler.update()` after each step",
    )
