"""STP023: a target or averaged network never follows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Skip, Step, rule
from nnlint_rules.step._networks import are_twins, networks_of, trained, written_after_steps
from nnlint_rules.step._steps import at

if TYPE_CHECKING:
    from nnlint import Events

#: Updates by hand of the trained network while its twin stands still.
_ENOUGH = 3


@rule("STP023", "auxiliary-network-static", level="warning", since="0.1")
def check(events: Events) -> Iterator[Finding]:
    """A network that is to follow another one never changes, or is the same object.

    ## What it does
    Reports a network that loads its own state (a target that is the live network itself, or a synchronization with the wrong
    source), one that is averaged with itself and gives the targets of its own training, and an average in the wrong direction: the
    live network is changed by hand after its steps, while a network of the same shape that no gradient trains stays as it is (the two
    may be parts of one module). An average that leaves out the running statistics of batch norms is an info. A frozen teacher into
    which nothing is copied is not reported, nor is a target whose first synchronization comes after the observed iterations.

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
    yield from _same_object(events)
    yield from _wrong_direction(events)
    yield from _without_statistics(events)


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


def _same_object(events: Events) -> Iterator[Finding]:
    """A network that is averaged with itself, and gives the targets of its own training."""
    for module in trained(events):
        written = [event for event in written_after_steps(events) if event.by == "rewriting" and module.trainable <= event.parameters]
        targets = [event for event in events.forwards if event.module == module.name and not event.records_graph]
        iterations = {event.iteration for event in targets} & {event.iteration for event in events.training_forwards}
        if len(written) < _ENOUGH or len(iterations) < _ENOUGH:
            continue
        yield Finding(
            at=at(targets[-1]),
            message=f"{module.name} is written to {len(written)} times after its steps and holds the same values, and it gives the targets "
            "of its own training: the network to be followed and its copy are one object",
            evidence={"rewritten": len(written), "target_forwards": len(targets)},
            fix="make the target a copy first: `target = copy.deepcopy(net)`",
        )


def _wrong_direction(events: Events) -> Iterator[Finding]:
    """A twin that stands still while the trained network is written to by hand after its steps."""
    networks = [network for module in events.modules.values() for network in networks_of(events, module)]
    changed_by_steps = frozenset().union(*(step.changed for step in events.steps))
    filled = frozenset().union(*(event.filled for event in events.backwards))
    for still in networks:
        if any(events.parameters[name].changed for name in still.parameters) or still.parameters & filled:
            continue
        for live in networks:
            if not live.parameters & changed_by_steps or still.shapes != live.shapes:
                continue
            by_hand = [event for event in written_after_steps(events) if live.parameters <= event.parameters and event.by == "hand"]
            if len(by_hand) >= _ENOUGH:
                yield Finding(
                    at=at(next(event for event in events.forwards if event.module == still.module)),
                    message=f"{still.name} never changes, while {live.name}, its twin, is changed by hand {len(by_hand)} times "
                    "after its steps: the average is written into the wrong network",
                    evidence={"updates_by_hand": len(by_hand), "parameters": len(still.parameters)},
                    fix=f"write into the copy: `for t, s in zip({still.name}.parameters(), {live.name}.parameters()): t.lerp_(s, 0.01)`",
                )
                return


def _without_statistics(events: Events) -> Iterator[Finding]:
    """An average of the parameters that leaves the running statistics of batch norms where they were."""
    for still in events.modules.values():
        followed = [live for live in trained(events) if live.statistics_moved and are_twins(events, still, live)]
        written = [event for event in written_after_steps(events) if event.by == "hand" and still.parameters <= event.parameters]
        stands = still.batch_norms and not still.statistics_moved
        if stands and followed and len(written) >= _ENOUGH and still not in trained(events):
            yield Finding(
                at=at(next(event for event in events.forwards if event.module == still.name)),
                level=Level.INFO,
                message=f"{still.name} follows the parameters of {followed[0].name} in {len(written)} updates, and not the "
                f"running statistics of its {len(still.batch_norms)} batch norms",
                evidence={"updates": len(written), "batch_norms": len(still.batch_norms)},
                fix=f"copy the buffers as well: `for b, s in zip({still.name}.buffers(), {followed[0].name}.buffers()): b.copy_(s)`",
            )


