"""STP023: a target or averaged network never follows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, Step, rule
from nnlint_rules.step._steps import at

if TYPE_CHECKING:
    from nnlint import Events, ModuleFacts

#: Updates by hand of the trained network while its twin stands still.
_ENOUGH = 3


@rule("STP023", "auxiliary-network-static", level="warning", since="0.1")
def check(events: Events) -> Iterator[Finding]:
    """A network that is to follow another one never changes, or is the same object.

    ## What it does
    Reports a network that loads its own state (a target that is the live network itself, or a synchronization with the wrong
    source), and an average in the wrong direction: the live network is changed by hand after its steps, while a network of the same
    shape that no gradient trains stays as it is. A frozen teacher into which nothing is copied is not reported, nor is a target
    whose first synchronization comes after the observed iterations.

    ## Why is this bad?
    The targets never improve (or move with every step, where both are one object): Q-learning diverges, a mean teacher teaches its
    random initialization, and in the wrong direction the average pulls the trained weights back to it.

    ## Example
        target.load_state_dict(target.state_dict())

    ## Use instead
        target.load_state_dict(net.state_dict())

    ## References
    - Mnih et al. (2015), "Human-level control through deep reinforcement learning"
    - Tarvainen and Valpola (2017), "Mean teachers are better role models"
    """
    if not events.updates:
        raise Skip("no network was changed outside optimizer steps")
    yield from _own_state(events)
    yield from _wrong_direction(events)


def _own_state(events: Events) -> Iterator[Finding]:
    """A state that is loaded into the module it was just taken from."""
    shown: set[str | None] = set()
    for update in events.updates:
        taken = [kept for kept in events.kept_states if kept.module == update.module and kept.index < update.index]
        fresh = bool(taken) and not events.between(taken[-1], update, Step)
        if not update.own_state or not fresh or update.module in shown or not events.steps:
            continue
        shown.add(update.module)
        module = events.modules.get(update.module or "")
        is_live = module is not None and any(module.parameters & step.changed for step in events.steps)
        yield Finding(
            at=at(update),
            message=f"{update.module} loads its own state"
            + (
                ": the network to be followed and its copy are one object"
                if is_live
                else ": it stays at its first weights"
            ),
            evidence={"updates": update.iteration},
            fix=f"make {update.module} a copy first: `copy.deepcopy(net)`"
            if is_live
            else "load the state of the trained network",
        )


def _wrong_direction(events: Events) -> Iterator[Finding]:
    trained = [
        module for module in events.modules.values() if any(module.parameters & step.changed for step in events.steps)
    ]
    for still in events.modules.values():
        if not still.parameters or any(events.parameters[name].changed for name in still.parameters):
            continue
        if any(event.filled & still.parameters for event in events.backwards):
            continue
        for live in trained:
            by_hand = [event for event in events.updates if event.by == "hand" and live.parameters <= event.parameters]
            if len(by_hand) >= _ENOUGH and _are_twins(events, still, live):
                yield Finding(
                    at=at(next(event for event in events.forwards if event.module == still.name)),
                    message=f"{still.name} never changes, while {live.name}, its twin, is changed by hand {len(by_hand)} times "
                    "after its steps: the average is written into the wrong network",
                    evidence={"updates_by_hand": len(by_hand), "parameters": len(still.parameters)},
                    fix=f"write into the copy: `for t, s in zip({still.name}.parameters(), {live.name}.parameters()): t.lerp_(s, 0.01)`",
                )


def _are_twins(events: Events, one: ModuleFacts, two: ModuleFacts) -> bool:
    def shapes(module: ModuleFacts) -> set[tuple[str, tuple[int, ...]]]:
        return {(events.parameters[name].path, events.parameters[name].shape) for name in module.parameters}

    return one.type == two.type and shapes(one) == shapes(two)
