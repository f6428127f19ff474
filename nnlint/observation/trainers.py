"""Whether a call such as `trainer.fit(model)` trains: its owner is no model itself, and it holds one, or is given one.

The owner need not be there yet: its class and what it will be given are read from the statements that make it.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from nnlint.observation.torch_private import children_of

#: Methods that train a model by themselves.
FITS = frozenset({"fit", "train"})
#: Assignments that are followed for one name.
_DEPTH = 8


@dataclass(frozen=True)
class _Made:
    """An object that a statement will make."""

    kind: type
    call: ast.Call


@dataclass(frozen=True)
class Names:
    """What the names of some code stand for.

    Attributes:
        live: those that have a value now.
        later: name -> the expression that will be assigned to it.
    """

    live: Mapping[str, Any]
    later: Mapping[str, ast.expr]

    @classmethod
    def of(cls, live: Mapping[str, Any], statements: Iterable[ast.stmt]) -> Names:
        """The names as they are, and those that the statements assign."""
        later: dict[str, ast.expr] = {}
        for node in (inner for statement in statements for inner in ast.walk(statement)):
            if isinstance(node, ast.Assign):
                later |= {target.id: node.value for target in node.targets if isinstance(target, ast.Name)}
        return cls(live, later)

    def trains(self, call: ast.Call) -> bool:
        """Whether a call of a method of `FITS` hands over, or is made on something that holds, a model to be trained."""
        if not isinstance(call.func, ast.Attribute) or call.func.attr not in FITS:
            return False
        owner = self._value(call.func.value)
        if owner is None or _is_model(owner):
            return False
        if any(_is_model(self._value(argument)) for argument in _arguments(call)):
            return True
        if isinstance(owner, _Made):
            given = any(_is_model(self._value(argument)) for argument in _arguments(owner.call))
            return given or _takes_a_model(owner.kind, call.func.attr)
        held = getattr(owner, "__dict__", {})
        return any(_is_model(value) for value in held.values()) or _takes_a_model(type(owner), call.func.attr)

    def _value(self, node: ast.expr, depth: int = _DEPTH) -> Any:
        """The object that an expression stands for, or what makes it; None where that is not known without running code."""
        if isinstance(node, ast.Name):
            assigned = self.later.get(node.id)
            if assigned is not None and depth:
                return self._value(assigned, depth - 1)
            return self.live.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self._value(node.value, depth)
            return None if owner is None or isinstance(owner, _Made) else _held(owner, node.attr)
        if isinstance(node, ast.Call):
            kind = self._value(node.func, depth)
            return _Made(kind, node) if isinstance(kind, type) else None
        return None


def _held(owner: Any, name: str) -> Any:
    """An attribute, without running a property."""
    own = getattr(owner, "__dict__", {})
    return own.get(name, children_of(own).get(name) if isinstance(owner, nn.Module) else None)


def _arguments(call: ast.Call) -> Iterator[ast.expr]:
    yield from call.args
    yield from (keyword.value for keyword in call.keywords)


def _is_model(value: Any) -> bool:
    return isinstance(value, nn.Module) or (isinstance(value, _Made) and issubclass(value.kind, nn.Module))


def _takes_a_model(kind: type, method: str) -> bool:
    """Whether the constructor or the method says that a parameter of it is a module."""
    if issubclass(kind, nn.Module):
        return False
    for name in ("__init__", method):
        function = inspect.getattr_static(kind, name, None)
        if not inspect.isfunction(function):
            continue
        said = " ".join(str(kind) for kind in getattr(function, "__annotations__", {}).values())
        if "Module" in said:
            return True
    return False
