"""Module-level variables that the user's functions name: what they bind, and what they may write into."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from nnlint.provenance import Owner, owner_of

_WRITES = {name: dis.opmap[name] for name in ("STORE_GLOBAL", "DELETE_GLOBAL")}
_NOTHING = object()


def is_of_user(function: FunctionType) -> bool:
    """Whether the user wrote a function."""
    return owner_of(function.__code__.co_filename) is Owner.USER


def names_in(code: CodeType) -> set[str]:
    """The names of variables and attributes that a function and those inside it use."""
    return {name for part in _parts(code) for name in part.co_names}


def _parts(code: CodeType) -> Iterator[CodeType]:
    """A code object and those of the functions and comprehensions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _parts(constant)


def _bound(code: CodeType) -> set[str]:
    """The module-level names that a function binds or deletes (`global count; count += 1`)."""
    found = set()
    for part in _parts(code):
        if any(number in part.co_code[::2] for number in _WRITES.values()):
            found |= {str(step.argval) for step in dis.get_instructions(part) if step.opname in _WRITES}
    return found


def modules_of_user(function: FunctionType, names: set[str]) -> Iterator[ModuleType]:
    """The user's own modules that a function names (`settings.step += 1`)."""
    for name in names:
        found = function.__globals__.get(name)
        file = getattr(found, "__file__", None) if isinstance(found, ModuleType) else None
        if isinstance(file, str) and owner_of(file) is Owner.USER:
            yield found  # type: ignore[misc]


class VariableState:
    """Some variables of a module: what each is bound to, or that there is none."""

    def __init__(self, module: dict[str, Any], names: set[str]) -> None:
        self._module = module
        self._held = {name: module.get(name, _NOTHING) for name in names}

    @classmethod
    def bound_by(cls, function: FunctionType) -> VariableState:
        """Those that a function binds in its own module."""
        return cls(function.__globals__, _bound(function.__code__))

    def restore(self) -> None:
        """Bind the old values again."""
        for name, value in self._held.items():
            if value is _NOTHING:
                self._module.pop(name, None)
            elif self._module.get(name, _NOTHING) is not value:
                self._module[name] = value
