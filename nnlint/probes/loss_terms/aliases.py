"""Networks that one owner holds under two names: a target network that is the network itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import getclosurevars, isfunction, ismethod
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup


@dataclass(frozen=True)
class Alias:
    """One network under several names.

    Attributes:
        names: as the owner calls it.
        parameters: identities of its parameters.
    """

    names: tuple[str, ...]
    parameters: frozenset[int]


def aliases(setup: TrainingSetup) -> tuple[Alias, ...]:
    """The networks that a module of the model, the loss, or the object whose method the loss is, holds under two names."""
    found = []
    for owner in _owners(setup):
        names: dict[int, list[str]] = defaultdict(list)
        held = {id(value): value for value in owner.values() if isinstance(value, nn.Module)}
        for name, value in owner.items():
            if id(value) in held:
                names[id(value)].append(name)
        for place, called in names.items():
            parameters = frozenset(id(parameter) for parameter in held[place].parameters())
            if len(called) > 1 and parameters:
                found.append(Alias(tuple(called), parameters))
    return tuple(found)


def _owners(setup: TrainingSetup) -> Iterator[Mapping[str, Any]]:
    yield from _children(setup.model)
    loss = setup.loss
    if isinstance(loss, nn.Module):
        yield from _children(loss)
    elif ismethod(loss):
        yield dict(getattr(loss.__self__, "__dict__", {}))
    elif isfunction(loss) and loss.__closure__:
        yield dict(getclosurevars(loss).nonlocals)


def _children(root: nn.Module) -> Iterator[Mapping[str, Any]]:
    """What each module holds, by name; a module that is held twice has both names."""
    owners: dict[str, dict[str, Any]] = defaultdict(dict)
    for path, module in root.named_modules(remove_duplicate=False):
        parent, _, name = path.rpartition(".")
        if path:
            owners[parent][name] = module
    yield from owners.values()
