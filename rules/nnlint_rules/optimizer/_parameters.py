"""The modules that parameters belong to, and what a finding about several of them is pinned to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nnlint import Place

if TYPE_CHECKING:
    from nnlint import Model


def owner(name: str) -> str:
    """Path of the module that owns a parameter."""
    return name.rpartition(".")[0]


def owners(names: Sequence[str]) -> tuple[str, ...]:
    """Paths of the modules that own the parameters, each once."""
    return tuple(dict.fromkeys(map(owner, names)))


def place_of(name: str, model: Model) -> Place:
    """The module that owns a parameter, at the line that constructed it."""
    module = model.find(owner(name))
    return Place(owner(name), module.location if module is not None else None)
