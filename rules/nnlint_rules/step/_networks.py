"""The networks of a script: called modules and their parts, those that steps change, and which are copies of each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint import Events, ModuleFacts, Update


#: Parameters from which on a part of a module may be a network of its own.
_PARTS = 2


@dataclass(frozen=True)
class Network:
    """A called module, or a part of one that may be an average of another part."""

    name: str
    module: str
    parameters: frozenset[str]
    shapes: frozenset[tuple[str, tuple[int, ...]]]


def networks_of(events: Events, module: ModuleFacts) -> Iterator[Network]:
    """The module itself, and its direct children that have several parameters."""
    known = [events.parameters[name] for name in sorted(module.parameters)]
    children = {parameter.path.partition(".")[0] for parameter in known if "." in parameter.path}
    for prefix in ("", *sorted(f"{child}." for child in children)):
        own = [parameter for parameter in known if parameter.path.startswith(prefix)]
        if len(own) >= _PARTS:
            name = f"{module.name}.{prefix}".strip(".")
            shapes = frozenset((parameter.path.removeprefix(prefix), parameter.shape) for parameter in own)
            yield Network(name, module.name, frozenset(parameter.name for parameter in own), shapes)


def trained(events: Events) -> list[ModuleFacts]:
    """Modules of which a step changes a parameter."""
    return [module for module in events.modules.values() if any(module.parameters & step.changed for step in events.steps)]


def are_twins(events: Events, one: ModuleFacts, two: ModuleFacts) -> bool:
    """Whether their parameters have the same names and shapes."""
    first, second = (next(networks_of(events, module), None) for module in (one, two))
    return first is not None and second is not None and first.shapes == second.shapes


def written_after_steps(events: Events) -> list[Update]:
    """Changes by hand after the first step."""
    first = events.steps[0].index if events.steps else len(events)
    return [event for event in events.updates if event.index > first]
