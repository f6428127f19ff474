"""What objects hold outside their `__dict__`: attributes of the user's classes, slots, the numbers of numpy arrays."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from nnlint.provenance import Owner, owner_of

#: Arrays of more bytes (a data set) are not kept.
_ARRAY_BYTES = 1 << 24


def classes_of_user(value: object, foreign: frozenset[str]) -> Iterator[type]:
    """The classes of an object that the user wrote: their attributes are shared by all their objects.

    Args:
        value: the object.
        foreign: packages whose classes are passed over unseen.
    """
    for kind in type(value).__mro__:
        package = kind.__module__.partition(".")[0]
        if package in foreign or (package in sys.stdlib_module_names and package != "__main__"):
            continue
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        if file is None or owner_of(file) is Owner.USER:
            yield kind


def class_values(kind: type) -> Iterator[object]:
    """What the attributes and the methods of a class lead to."""
    for name, value in vars(kind).items():
        if isinstance(value, (staticmethod, classmethod)):
            yield value.__func__
        elif isinstance(value, property):
            yield from (part for part in (value.fget, value.fset) if part is not None)
        elif isinstance(value, FunctionType) or not _is_special(name):
            yield value


def slots_of(value: object) -> tuple[str, ...]:
    """Names of the slots of an object's classes."""
    found: dict[str, None] = {}
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            private = name.startswith("__") and not name.endswith("__")
            found[f"_{kind.__name__.lstrip('_')}{name}" if private else name] = None
    return tuple(name for name in found if not _is_special(name))


def is_kept_array(value: Any) -> bool:
    """Whether a value is a numpy array that a model may count in: writable, of numbers, and no data set."""
    numpy: Any = sys.modules.get("numpy")
    return (
        numpy is not None
        and type(value) is numpy.ndarray
        and value.flags.writeable
        and not value.dtype.hasobject
        and value.nbytes <= _ARRAY_BYTES
    )


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


class ClassState:
    """The attributes of a class of the user's."""

    def __init__(self, kind: type) -> None:
        self._kind = kind
        self._held = self._attributes()

    def _attributes(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self._kind).items() if not _is_special(name)}

    def restore(self) -> None:
        """Bind the old values again, and take away what is new."""
        now = self._attributes()
        for name in now.keys() - self._held.keys():
            type.__delattr__(self._kind, name)
        for name, value in self._held.items():
            if name not in now or now[name] is not value:
                type.__setattr__(self._kind, name, value)


class SlotState:
    """The slots of one object."""

    def __init__(self, owner: object, names: tuple[str, ...]) -> None:
        self._owner = owner
        self._held = {name: getattr(owner, name) for name in names if hasattr(owner, name)}
        self._names = names

    def values(self) -> tuple[object, ...]:
        """What the slots hold."""
        return tuple(self._held.values())

    def restore(self) -> None:
        """Fill the slots as before, past a frozen dataclass's own refusal."""
        for name in self._names:
            if name in self._held:
                if getattr(self._owner, name, None) is not self._held[name]:
                    object.__setattr__(self._owner, name, self._held[name])
            elif hasattr(self._owner, name):
                object.__delattr__(self._owner, name)


class ArrayState:
    """The numbers of a numpy array."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self._kept = array.copy()

    def restore(self) -> None:
        """Write them back where their bytes changed; an array that was resized gets its shape again."""
        array, kept = self._array, self._kept
        if array.shape != kept.shape:
            array.resize(kept.shape, refcheck=False)
        if array.tobytes() != kept.tobytes():
            array[...] = kept
