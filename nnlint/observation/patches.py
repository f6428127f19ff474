"""Putting wrappers in the place of functions and methods, and the originals back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any

_MISSING = object()


class Patches:
    """What was replaced, in order."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []
        self._functions: dict[Any, Any] = {}

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Put `make(original)` in the place of an attribute of a class or module; nothing where there is no such attribute."""
        original = getattr(owner, name, None)
        if original is None:
            return
        own = vars(owner).get(name, _MISSING)
        made = self._functions.get(original) if isinstance(owner, ModuleType) else None
        made = made or wraps(original)(make(original))
        if isinstance(owner, ModuleType):
            self._functions[original] = made
        setattr(owner, name, made)
        self._undo.append(lambda: setattr(owner, name, own) if own is not _MISSING else delattr(owner, name))

    def on_undo(self, *actions: Callable[[], object]) -> None:
        """Do these as well when everything is put back."""
        self._undo += actions

    def rebind(self) -> None:
        """Replace functions of modules also where other modules hold them by `from ... import`."""
        _exchange(self._functions)

    def undo(self) -> None:
        """Put everything back; may be called again."""
        _exchange({new: old for old, new in self._functions.items()})
        self._functions = {}
        while self._undo:
            self._undo.pop()()


def _exchange(table: dict[Any, Any]) -> None:
    identities = {id(old): new for old, new in table.items()}
    for module in list(sys.modules.values()):
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if id(value) in identities:
                setattr(module, name, identities[id(value)])
