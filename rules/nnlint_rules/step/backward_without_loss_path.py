"""STP006: the loss does not depend on what the optimizer trains."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from nnlint import Backward, Finding, Level, rule
from nnlint_rules.step._lost_paths import cut_off, rebuilt_term
from nnlint_rules.step._steps import at, named, share, stepped

if TYPE_CHECKING:
    from nnlint import Events, Step, Term


@rule("STP006", "backward-without-loss-path", level="error", since="0.1")
def check(events: Events) -> Iterator[Finding]:
    """No backward before the step reaches a parameter of the optimizer.

    ## What it does
    Judges each optimizer by itself: it steps without gradients, although backwards were made, because none of them reaches any of its
    parameters: the loss was rebuilt from a number (`.item()`, numpy, `torch.tensor(loss, requires_grad=True)`), or the
    forward ran under `no_grad`. Also reports a summand of the stepped loss that reaches none of these parameters while it reaches
    those of another player that does not use it: an adversarial term on a detached fake; and, as a warning, a network of the optimizer
    that runs in training mode, recording its graph, before every one of at least three steps, although no backward ever reaches it:
    its output was turned into a new tensor on the way to the next network. A frozen network, or one in evaluation mode, is left alone.
    A part of a network (a value head) whose output is computed with a graph and gets no gradient in any step is an error where a
    summand of the loss has no graph: that summand was computed from numbers or from detached values.

    ## Why is this bad?
    The step has nothing to apply; or the term that was added to the loss has no effect on what it should train.

    ## Example
        loss = torch.tensor(loss_fn(model(x), y).item(), requires_grad=True)
        loss.backward()

    ## Use instead
        loss = loss_fn(model(x), y)
        loss.backward()

    ## References
    - PyTorch documentation, "Autograd mechanics"
    """
    for optimizer, steps in stepped(events, least=1):
        blind = [
            (step, backward)
            for before, step in pairwise([None, *steps])
            if step is not None and (backward := _blind(events, before, step)) is not None
        ]
        if blind and len(blind) == len(steps) and (len(blind) > 1 or events.end.reason != "enough"):
            backward = blind[-1][1]
            yield Finding(
                at=at(backward),
                message=f"this backward reaches no parameter of {named(optimizer)}, which steps without gradients in "
                f"{share(len(blind), len(steps))}: {_why(events, backward)}",
                evidence={"steps": len(blind), "parameters": len(optimizer.parameters)},
                fix="call `backward()` on the tensor that the loss function returned for the model's own outputs",
            )
            continue
        rebuilt = rebuilt_term(events, optimizer, steps)
        if rebuilt is not None:
            yield rebuilt
            continue
        yield from cut_off(events, optimizer, steps)
        term = _lost_term(events, optimizer.name, steps)
        if term is not None:
            backward, summand = term
            yield Finding(
                at=at(backward),
                level=Level.WARNING,
                message=f"one summand of the loss ({summand.operation}) reaches {len(summand.reached)} parameters of another network and "
                f"none of {named(optimizer)}, which it should train",
                evidence={"reached": len(summand.reached), "steps": len(steps)},
                fix="remove the `detach()` (or `no_grad`) between this network's output and that term",
            )


def _blind(events: Events, before: Step | None, step: Step) -> Backward | None:
    """The last backward before a step without gradients, where none of them filled anything that the step should apply."""
    own = events.optimizers[step.optimizer].parameters
    if step.gradients or not events.took_part(step.optimizer):
        return None
    made = events.inside(step, Backward) if step.closure else events.backwards_between(before, step)
    if not made or any(own & event.filled for event in made) or any(event.error for event in made):
        return None
    alone = [event for event in made if event.index not in events.used_backwards]
    return alone[-1] if alone else None  # the others belong to another player


def _why(events: Events, backward: Backward) -> str:
    if backward.leaf_loss:
        return "its loss has no graph (it was rebuilt from a number)"
    forwards = [event for event in events.forwards if event.index < backward.index]
    if forwards and not forwards[-1].grad_enabled:
        return "the forward ran without recording a graph (no_grad)"
    return "the model's outputs were detached on the way"


def _lost_term(events: Events, name: str, steps: tuple[Step, ...]) -> tuple[Backward, Term] | None:
    """A summand without effect in every step's backwards."""
    own = events.optimizers[name].parameters
    others = frozenset().union(*(facts.parameters for other, facts in events.optimizers.items() if other != name)) - own
    found = None
    for step in steps:
        backwards = [event for event in events.backwards if event.index in step.backwards]
        lost = [
            (event, term)
            for event in backwards
            for term in event.terms
            if any(other.reached & own for other in event.terms)
            if term.reached and not term.reached & own and term.reached & others and not _is_used(events, event, name)
        ]
        if not lost:
            return None
        found = lost[-1]
    return found


def _is_used(events: Events, backward: Backward, name: str) -> bool:
    """Whether another optimizer applies the same backward: one loss of several players."""
    return any(step.optimizer != name and backward.index in step.backwards for step in events.steps)
