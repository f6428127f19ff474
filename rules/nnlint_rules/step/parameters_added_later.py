"""STP020: parameters that came after the optimizer was made, and that it does not know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule
from nnlint_rules.step._steps import at, named

if TYPE_CHECKING:
    from nnlint import Events, ModuleFacts, OptimizerFacts, ParameterFacts

#: Modules that one line made, one after the other, before they count as made anew in the loop.
_ANEW = 3


@rule("STP020", "parameters-added-later", level="error", since="0.1", explains=["STP005"])
def check(events: Events) -> Iterator[Finding]:
    """Parameters come into the forward after the optimizer was made, and no optimizer holds them.

    ## What it does
    Looks for parameters that get gradients and that no optimizer holds: parameters that were not there at the first forward of
    their model (made lazily, a head exchanged in the loop), a layer exchanged between the making of the optimizer and the first
    forward (the optimizer still holds the old one), and layers that the loop makes anew in each iteration. Frozen and deliberately
    unoptimized parts, which were there from the start, are not reported.

    ## Why is this bad?
    The optimizer holds the tensors it was given when it was made. New ones stay at their initial values, and the rest of the network
    adapts to a random layer.

    ## Example
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model.fc = nn.Linear(512, 10)

    ## Use instead
        model.fc = nn.Linear(512, 10)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    ## References
    - PyTorch: `torch.optim.Optimizer.add_param_group`
    """
    if not events.steps:
        raise Skip("no optimizer stepped")
    for name, module in events.modules.items():
        unknown = _unknown(events, module)
        optimizer = _optimizer_of(events, module)
        if not unknown or optimizer is None:
            continue
        first = next(forward for forward in events.forwards if forward.module == name)
        late = [found for found in unknown if found.first_seen > first.index]
        swapped = [] if late else _swapped(events, optimizer, unknown)
        found = late or swapped
        if found:
            use = next((e for e in events.forwards if e.module == name and found[0].name in e.unoptimized), first)
            shown = ", ".join(item.path for item in found[:3]) + (", ..." if len(found) > 3 else "")
            yield Finding(
                at=at(use),
                message=f"{named(optimizer)} does not hold {len(found)} parameters of {name} that came after it was made ({shown}): "
                "they get gradients and no updates",
                evidence={"parameters": len(found), "held": len(optimizer.parameters & module.parameters)},
                fix="make the optimizer after the model is complete, or call "
                f"`{optimizer.name}.add_param_group({{'params': new.parameters()}})`",
            )
    yield from _made_anew(events)
    yield from _made_inside(events)


def _unknown(events: Events, module: ModuleFacts) -> list[ParameterFacts]:
    """Trainable parameters with gradients that no optimizer ever held and nothing changed."""
    filled = frozenset().union(*(event.filled for event in events.backwards))
    own = (events.parameters[name] for name in sorted(module.trainable & filled))
    return [parameter for parameter in own if not parameter.optimizers and not parameter.changed]


def _optimizer_of(events: Events, module: ModuleFacts) -> OptimizerFacts | None:
    """The optimizer that steps other parameters of the module."""
    holders = (events.optimizers[step.optimizer] for step in reversed(events.steps))
    return next((optimizer for optimizer in holders if optimizer.parameters & module.parameters), None)


def _swapped(events: Events, optimizer: OptimizerFacts, unknown: list[ParameterFacts]) -> list[ParameterFacts]:
    """The unknown ones, where the optimizer holds orphans that look like what stood in their place."""
    orphans = [events.parameters[name] for name in optimizer.parameters - events.took_part(optimizer.name)]
    return [new for new in unknown if any(_alike(new.shape, old.shape) for old in orphans)]


def _alike(new: tuple[int, ...], old: tuple[int, ...]) -> bool:
    """An exchanged layer keeps its kind and at least one side; a bias has one side only."""
    return len(new) == len(old) and (len(new) == 1 or any(one == two for one, two in zip(new, old, strict=True)))


def _made_anew(events: Events) -> Iterator[Finding]:
    """Modules of one type and line, each used in its own iteration, each trained by nobody."""
    groups: dict[tuple[object, str], dict[str, int]] = {}
    for forward in events.training_forwards:
        module = events.modules[forward.module]
        if module.parameters and len(_unknown(events, module)) == len(module.parameters):
            groups.setdefault((forward.location, module.type), {}).setdefault(forward.module, forward.iteration)
    for (_, kind), used in groups.items():
        if len(set(used.values())) >= _ANEW:
            last = [forward for forward in events.training_forwards if forward.module in used][-1]
            yield Finding(
                at=at(last),
                message=f"{len(used)} iterations use {len(used)} different {kind} modules, and no optimizer holds any of them: the loop "
                "creates a new layer each time",
                evidence={"modules": len(used), "parameters": len(events.modules[last.module].parameters)},
                fix=f"make the {kind} once before the loop, as a part of the model that the optimizer is made for",
            )


def _made_inside(events: Events) -> Iterator[Finding]:
    """Parameters that a forward makes anew each time, inside a module or a function."""
    anew = [event for event in events.backwards if event.made_anew]
    if len({event.iteration for event in anew}) >= _ANEW - 1:
        used = [event for event in events.at(anew[-1].forwards) if event.location is not None]
        yield Finding(
            at=at(used[-1] if used else anew[-1]),
            message=f"{anew[-1].made_anew} parameters are new in each of {len(anew)} iterations, and no optimizer holds them: the "
            "forward makes a layer anew each time",
            evidence={"parameters": anew[-1].made_anew, "iterations": len(anew)},
            fix="make the layer in `__init__`, before the optimizer",
        )
