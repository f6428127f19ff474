"""What a script holds, by number: parameters with their gradients, and optimizers, modules, loaders by the variables that hold them."""

from __future__ import annotations

import inspect
import sys
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import FrameType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from nnlint.finding import Location
from nnlint.frames import location_of
from nnlint.observation.journal import Ref
from nnlint.observation.torch_private import children_of
from nnlint.provenance import Owner, is_installed, is_nnlint_file, owner_of

#: How often the variable of a thing is looked for; afterwards it goes by its class.
_TRIES = 4
#: Members of a list or dict that are looked through for a thing.
_MEMBERS = 64
#: Of the ordinal numbers.
_ENDINGS = {2: "nd", 3: "rd"}
#: The methods by which Python iterates.
_PROTOCOL = ("__iter__", "__next__")


@dataclass
class Thing:
    """An optimizer, module, loader, scheduler or scaler."""

    ref: Ref
    what: str
    object: weakref.ref[Any]
    type: str
    location: Location | None = None
    made: int = 0
    variable: str | None = None
    tries: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def called(self) -> str:
        """Its variable, else its class: others may have the same."""
        return self.variable or self.type


@dataclass
class Known:
    """A parameter that took part."""

    key: int
    tensor: weakref.ref[Tensor]
    first_seen: int
    shape: tuple[int, ...]
    dtype: str
    requires_grad: bool
    owner: tuple[Ref, str] | None = None
    variable: str | None = None
    optimizers: dict[Ref, None] = field(default_factory=dict)
    changed: bool = False
    #: The backwards that its gradient holds, and the gradient with its version when that was last looked at.
    held: tuple[int, ...] = ()
    seen: tuple[weakref.ref[Tensor], int | None] | None = None


class Things:
    """The table of both kinds. Nothing is kept alive by it."""

    def __init__(self) -> None:
        self.known: list[Thing] = []
        self.parameters: list[Known] = []
        self._by_id: dict[int, Thing] = {}
        self._parameter_by_id: dict[int, Known] = {}

    def find(self, value: object) -> Thing | None:
        """The thing that stands for this object."""
        thing = self._by_id.get(id(value))
        return thing if thing is not None and thing.object() is value else None

    def of(self, what: str, value: Any, *, made: int, location: Location | None = None) -> Thing:
        """The thing for an object, entered where it is new."""
        thing = self.find(value)
        if thing is None:
            ref = Ref(len(self.known))
            thing = Thing(ref, what, weakref.ref(value), type(value).__name__, location, made)
            self.known.append(thing)
            self._by_id[id(value)] = thing
        return thing

    def named(self, thing: Thing, value: object) -> Thing:
        """Look for the variable that holds the thing, in the script's frames that are running now."""
        if thing.variable is None and thing.tries < _TRIES:
            thing.tries += 1
            thing.variable = variable_of(value)
        return thing

    def parameter(self, tensor: Tensor, *, now: int) -> Known:
        """The entry of a parameter, made where it is new; `now` is the index of the next event."""
        known = self._parameter_by_id.get(id(tensor))
        if known is None or known.tensor() is not tensor:
            dtype = str(tensor.dtype).removeprefix("torch.")
            shape = () if isinstance(tensor, nn.parameter.UninitializedParameter) else tuple(tensor.shape)
            known = Known(len(self.parameters), weakref.ref(tensor), now, shape, dtype, tensor.requires_grad)
            self.parameters.append(known)
            self._parameter_by_id[id(tensor)] = known
        return known

    def lookup(self, tensor: Tensor) -> Known | None:
        """The entry of a parameter, if it has one."""
        known = self._parameter_by_id.get(id(tensor))
        return known if known is not None and known.tensor() is tensor else None

    def alive(self) -> Iterator[tuple[Known, Tensor]]:
        """All parameters that still exist."""
        for known in self.parameters:
            tensor = known.tensor()
            if tensor is not None:
                yield known, tensor

    def names(self) -> dict[int, str]:
        """A name of its own for each thing: its variable, else its class; with its line where several have that name."""
        shared: dict[str, list[Thing]] = {}
        for thing in self.known:
            shared.setdefault(thing.called, []).append(thing)
        names = {thing.ref: _called(thing, shared[thing.called]) for thing in self.known}
        return dict(enumerate(_distinct(names[thing.ref] for thing in self.known)))

    def parameter_names(self) -> dict[int, str]:
        """A name of its own for each parameter."""
        things = self.names()
        raw = (
            f"{things[known.owner[0]]}.{known.owner[1]}" if known.owner is not None else known.variable or "parameter"
            for known in self.parameters
        )
        return dict(enumerate(_distinct(raw)))


def _called(thing: Thing, namesakes: list[Thing]) -> str:
    """A thing among those of its name: told apart by the lines that made them, else by what they are."""
    if len({other.location for other in namesakes}) == 1:
        return f"{thing.called} ({thing.type})" if len({other.type for other in namesakes}) > 1 else thing.called
    if thing.location is not None:
        return f"{thing.called} ({thing.location.file.rpartition('/')[2]}:{thing.location.line})"
    return thing.called


def _distinct(names: Iterable[str]) -> list[str]:
    """Each name once: the second of its kind is `opt (2nd)`."""
    seen: Counter[str] = Counter()
    made = []
    for name in names:
        seen[name] += 1
        count = f"{seen[name]}{_ENDINGS.get(seen[name], 'th')}"
        again = f"{name[:-1]}, {count})" if name.endswith(")") else f"{name} ({count})"
        made.append(name if seen[name] == 1 else again)
    return made


def script_frames() -> Iterator[FrameType]:
    """The frames of the user's own code that are running, innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if owner_of(frame.f_code.co_filename) is Owner.USER:
            yield frame
        frame = frame.f_back


def is_read_by_script() -> bool:
    """Whether the script's own code iterates what is being read: directly, or through what wraps an iterator (`tqdm`), not a trainer."""
    inner: FrameType | None = None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and owner_of(frame.f_code.co_filename) is not Owner.USER:
        if not is_nnlint_file(frame.f_code.co_filename):
            inner = frame
        frame = frame.f_back
    return inner is None or inner.f_code.co_name in _PROTOCOL or bool(inner.f_code.co_flags & inspect.CO_GENERATOR)


def script_line() -> Location | None:
    """The script's line that is running: outside installed packages where there is one, else the outermost user's line."""
    outer: FrameType | None = None
    for frame in script_frames():
        outer = frame
        if not is_installed(frame.f_code.co_filename):
            break
    return location_of(outer.f_code, outer.f_lineno) if outer is not None else None


def variable_of(value: object) -> str | None:
    """The variable, or the attribute of `self`, that holds an object in a running frame of the script."""
    for frame in script_frames():
        for name, held in frame.f_locals.items():
            if held is value and name != "self":
                return name
        member = _member_of(frame.f_locals, value) or _wrapped_in(frame.f_locals, value)
        if member is not None:
            return member
        owner = frame.f_locals.get("self")
        table = getattr(owner, "__dict__", None)
        if isinstance(table, dict):
            found = _held_by(table, value)
            if found is not None:
                return found
    return None


def _held_by(table: dict[str, Any], value: object) -> str | None:
    for name, held in table.items():
        if held is value:
            return name
    member = _member_of(table, value)
    return member or next((name for name, held in children_of(table).items() if held is value), None)


def _member_of(table: Mapping[str, Any], value: object) -> str | None:
    """The place of an object in a plain list, tuple or dict of these variables: `optimizers[1]`."""
    for name, held in table.items():
        if name.startswith("_"):
            continue
        if type(held) is dict and len(held) <= _MEMBERS:
            found = next((repr(key) for key, item in held.items() if item is value and isinstance(key, (str, int))), None)
        elif type(held) in (list, tuple) and len(held) <= _MEMBERS:
            found = next((str(index) for index, item in enumerate(held) if item is value), None)
        else:
            continue
        if found is not None:
            return f"{name}[{found}]"
    return None


def _wrapped_in(table: Mapping[str, Any], value: object) -> str | None:
    """The variable whose object holds this one: an optimizer by its wrapper's name, `trainer.optimizer` by the way to it."""
    for name, held in table.items():
        if name.startswith("_") or isinstance(held, (type, ModuleType)):
            continue
        inner = getattr(held, "__dict__", None)
        if type(inner) is not dict or len(inner) > _MEMBERS:
            continue
        found = next((key for key, item in inner.items() if item is value), None)
        if found is not None:
            return name if isinstance(held, torch.optim.Optimizer) else f"{name}.{found.lstrip('_')}"
    return None
