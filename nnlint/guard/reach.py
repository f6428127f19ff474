"""Everything that a model's own code can reach and change: modules, containers, plain objects, classes, closures, tensors."""

from __future__ import annotations

import functools
import random
import sys
from collections import OrderedDict, deque
from collections.abc import Iterable
from operator import is_
from types import CellType, FunctionType, MethodType
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from nnlint.guard.belongings import SlotState, class_values, classes_of_user, is_kept_array, slots_of
from nnlint.guard.parts import inner_tensors
from nnlint.guard.scripted import scripted_children
from nnlint.guard.variables import VariableState, is_of_user, modules_of_user, names_in

#: Packages whose plain objects are left alone: they belong to a process (a trainer, a logger), not to a model.
_FOREIGN = frozenset({"torch", "numpy", "lightning", "pytorch_lightning", "builtins", "accelerate", "wandb"})
#: How far plain objects inside objects are followed: a cache's block, not the world behind it.
_OBJECT_DEPTH = 2
#: Containers longer than this (a vocabulary, a file list) are kept as they are, their items are not followed.
_FOLLOWED_ITEMS = 10_000

_TABLES = (dict, OrderedDict)
_CALLED = (nn.Module, Tensor)

Container: TypeAlias = "list[Any] | dict[Any, Any] | set[Any] | deque[Any]"


class Reach:
    """What was found: each object once, in the order found."""

    def __init__(self, roots: Iterable[object]) -> None:
        self.modules: list[nn.Module] = []
        self.containers: list[Container] = []
        self.tensors: list[Tensor] = []
        self.cells: list[CellType] = []
        self.generators: list[Any] = []
        self.classes: list[type] = []
        self.slotted: list[SlotState] = []
        self.arrays: list[Any] = []
        self.variables: list[VariableState] = []
        self._seen: dict[int, object] = {}
        # A root (an optimizer, a scheduler, a loss) is entered whatever package its class is from.
        self._stack: list[tuple[object, int]] = []
        for root in roots:
            if root is not None and not self._place(root, 0) and hasattr(root, "__dict__"):
                self._enter(vars(root), 0)
            self._run()

    def _run(self) -> None:
        while self._stack:
            value, depth = self._stack.pop()
            self._place(value, depth)

    def _push(self, values: Iterable[object], depth: int) -> None:
        self._stack.extend((value, depth) for value in values)

    def _enter(self, table: dict[Any, Any], depth: int) -> None:
        if id(table) not in self._seen:
            self._seen[id(table)] = table
            self.containers.append(table)
            self._push(table.values(), depth)

    def _place(self, value: object, depth: int) -> bool:
        """File one value and queue what is behind it; False where it is none of the kinds followed."""
        if value is None or isinstance(value, (str, bytes, int, float, complex, type)):
            return True
        if id(value) in self._seen:
            return True
        if isinstance(value, Tensor):
            self._tensor(value)
        elif isinstance(value, nn.Module):
            self._seen[id(value)] = value
            self.modules.append(value)
            self._enter(vars(value), depth)
            self._classes(value, depth)
            self._push(scripted_children(value), depth)
        elif isinstance(value, (list, dict, set, deque)):
            self._container(value, depth)
        elif isinstance(value, (tuple, frozenset)):
            self._seen[id(value)] = value
            self._push(value, depth)
        elif isinstance(value, (FunctionType, MethodType, functools.partial)):
            self._seen[id(value)] = value
            self._function(value, depth)
        else:
            return self._object(value, depth)
        return True

    def _classes(self, value: object, depth: int) -> None:
        """What the object's classes hold, and what their methods close over."""
        if id(type(value)) in self._seen:
            return
        self._seen[id(type(value))] = type(value)
        for kind in classes_of_user(value, _FOREIGN):
            if kind not in self.classes:
                self.classes.append(kind)
                self._push(class_values(kind), depth + 1)

    def _tensor(self, tensor: Tensor) -> None:
        self._seen[id(tensor)] = tensor
        self.tensors.append(tensor)
        self._push((inner for _, inner in inner_tensors(tensor)), 0)

    def _container(self, value: Container, depth: int) -> None:
        self._seen[id(value)] = value
        self.containers.append(value)
        if len(value) <= _FOLLOWED_ITEMS:
            self._push(value.values() if isinstance(value, dict) else value, depth)

    def _function(self, value: Any, depth: int) -> None:
        if isinstance(value, MethodType):
            self._push((value.__self__,), depth)
        elif isinstance(value, functools.partial):
            self._push((value.func, *value.args, *value.keywords.values()), depth)
        else:
            for cell in value.__closure__ or ():
                self._cell(cell, depth)
            self._variables(value, depth)

    def _variables(self, function: FunctionType, depth: int) -> None:
        """What a function names of its module: a loss lambda calls a network or reads weights of its file; the user's write to more."""
        names = names_in(function.__code__)
        tables, own = [function.__globals__], is_of_user(function)
        if own:
            self.variables.append(VariableState.bound_by(function))
            for module in modules_of_user(function, names):
                self.variables.append(VariableState(vars(module), names))
                tables.append(vars(module))
        named = [found for table in tables for name in sorted(names) if (found := table.get(name)) is not None]
        self._push((found for found in named if isinstance(found, _CALLED) or (own and _may_change(found))), depth)

    def _cell(self, cell: CellType, depth: int) -> None:
        if id(cell) in self._seen:
            return
        self._seen[id(cell)] = cell
        try:
            content = cell.cell_contents
        except ValueError:  # not assigned yet
            return
        self.cells.append(cell)
        self._push((content,), depth)

    def _object(self, value: object, depth: int) -> bool:
        if isinstance(value, (random.Random, torch.Generator)) or _is_numpy_generator(value):
            self._seen[id(value)] = value
            self.generators.append(value)
            return True
        if is_kept_array(value):
            self._seen[id(value)] = value
            self.arrays.append(value)
            return True
        package = type(value).__module__.partition(".")[0]
        if package in _FOREIGN or package in sys.stdlib_module_names or depth >= _OBJECT_DEPTH:
            return False
        slots, table = slots_of(value), getattr(value, "__dict__", None)
        if not slots and not isinstance(table, dict):
            return False
        self._seen[id(value)] = value
        if isinstance(table, dict):
            self._enter(table, depth + 1)
        if slots:
            self.slotted.append(SlotState(value, slots))
            self._push(self.slotted[-1].values(), depth + 1)
        self._classes(value, depth + 1)
        return True


def _may_change(value: object) -> bool:
    """Whether a module-level value is one that the user's functions write into, or a function of the user's that may do it."""
    if isinstance(value, FunctionType):
        return is_of_user(value)
    if isinstance(value, (list, dict, set, deque, random.Random, torch.Generator)):
        return True
    if isinstance(value, type):
        return False
    return is_kept_array(value) or _is_numpy_generator(value) or any(True for _ in classes_of_user(value, _FOREIGN))


def _is_numpy_generator(value: object) -> bool:
    return type(value).__module__.startswith("numpy.random") and (
        hasattr(value, "bit_generator") or hasattr(value, "get_state")
    )


class ContainerState:
    """The items of one container, put back into the same container."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._keys, self._values = _held(container)

    def restore(self) -> None:
        """Put the items back where they changed."""
        container, values = self._container, self._values
        # Nearly all are dicts, or empty tables of hooks: those without a call more.
        if not values and type(container) in _TABLES and not container:
            return
        if type(container) is dict and len(container) == len(values):
            if all(map(is_, container.values(), values)) and all(map(is_, container, self._keys)):
                return
        elif self._is_unchanged():
            return
        if isinstance(container, dict):
            self._restore_dict(container)
        elif isinstance(container, set):
            set.clear(container)
            set.update(container, self._values)
        else:
            container.clear()
            container.extend(self._values)

    def _is_unchanged(self) -> bool:
        """Whether the container holds the same objects in the same order: in C, since a model has thousands of containers."""
        keys, values = _held(self._container)
        if len(values) != len(self._values):
            return False
        return all(map(is_, values, self._values)) and all(map(is_, keys, self._keys))

    def _restore_dict(self, table: dict[Any, Any]) -> None:
        """By the methods of the built-in type: a subclass may count, refuse or copy what it is given."""
        base: Any = OrderedDict if isinstance(table, OrderedDict) else dict
        base.clear(table)
        for key, value in zip(self._keys, self._values, strict=True):
            base.__setitem__(table, key, value)


def _held(container: Container) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Keys (of a dict) and values, by the built-in type's own methods."""
    if isinstance(container, OrderedDict):  # its order is its own, not the dict's below
        return tuple(OrderedDict.keys(container)), tuple(OrderedDict.values(container))
    if isinstance(container, dict):
        return tuple(dict.keys(container)), tuple(dict.values(container))
    return (), tuple(container)


class GeneratorState:
    """The state of a random generator that the model owns."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator
        if isinstance(generator, random.Random):
            self._state: Any = generator.getstate()
        elif hasattr(generator, "get_state"):  # torch.Generator, numpy's RandomState
            self._state = generator.get_state()
        else:
            self._state = generator.bit_generator.state

    def restore(self) -> None:
        """Wind the generator back."""
        if isinstance(self._generator, random.Random):
            self._generator.setstate(self._state)
        elif hasattr(self._generator, "get_state"):
            self._generator.set_state(self._state)
        else:
            self._generator.bit_generator.state = self._state


class CellState:
    """The content of a closure's variable (`nonlocal step`)."""

    def __init__(self, cell: CellType) -> None:
        self._cell = cell
        self._content = cell.cell_contents

    def restore(self) -> None:
        """Bind the old content again."""
        self._cell.cell_contents = self._content
