"""Tensors inside nested inputs and outputs: one walker, one mapper; and describing any object in a few words.

Tensors are found in tensors, mappings, lists, tuples, sets, dataclasses and plain objects (graph batches, distributions, caches),
six levels deep. `map_tensors` rebuilds mappings, lists, tuples and distributions; other objects stay as they are.
"""

from __future__ import annotations

import copy
import inspect
from collections import UserDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeGuard

import torch
from torch.distributions.utils import lazy_property
from torch.nn.parameter import is_lazy

_DEPTH = 6

#: Holds no tensors, or no outputs: a module's parameters are not the data that it carries.
_OPAQUE = (str, bytes, int, float, bool, torch.nn.Module)


_PLAIN = (torch.Tensor, torch.nn.Parameter)


class Attribute(str):
    """A step of a path that is an attribute (`.mask`), not a key (`["mask"]`)."""

    __slots__ = ()


def tensor_leaves(
    value: Any, path: tuple[Any, ...] = (), depth: int = _DEPTH
) -> Iterator[tuple[tuple[Any, ...], torch.Tensor]]:
    """Every tensor inside `value` with its path of keys, positions and attributes, in order."""
    if isinstance(value, torch.Tensor):
        if not is_lazy(value):  # without shape or memory until the first forward
            yield path, value
    elif depth and value is not None and not isinstance(value, _OPAQUE):
        for key, child in _children(value):
            yield from tensor_leaves(child, (*path, key), depth - 1)


def _children(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(enumerate(value))
    if isinstance(value, Mapping):
        return list(value.items())
    if is_dataclass(value) and not isinstance(value, type):
        return [(Attribute(field.name), getattr(value, field.name, None)) for field in fields(value)]
    # Classes and callables hold no outputs.
    if not isinstance(value, type) and not callable(value) and hasattr(value, "__dict__"):
        return [(Attribute(name), child) for name, child in vars(value).items()]
    return ()


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor inside `value`, in order."""
    return (tensor for _, tensor in tensor_leaves(value))


def named_tensors(value: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor inside `value`, named as one writes it in Python: `inputs['mask']`, `inputs[0]`, `inputs.edge_index`."""
    for path, tensor in tensor_leaves(value):
        yield name + "".join(f".{key}" if isinstance(key, Attribute) else f"[{key!r}]" for key in path), tensor


def holds_list(value: Any) -> bool:
    """Whether tensors are given in a list anywhere in `value`: samples of different sizes, as torchvision's detectors take them."""
    if isinstance(value, list) and any(isinstance(item, torch.Tensor) for item in value):
        return True
    children = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return any(map(holds_list, children))


def map_tensors(function: Callable[[torch.Tensor], torch.Tensor], value: Any) -> Any:
    """`value` with every tensor in its mappings, lists and tuples (named ones too) replaced."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return _rebuilt(value, {key: map_tensors(function, item) for key, item in value.items()})
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(function, item) for item in value))
    if isinstance(value, (tuple, list)):
        items = [map_tensors(function, item) for item in value]
        return type(value)(items)
    return _of_distribution(function, value) if isinstance(value, torch.distributions.Distribution) else value


def _of_distribution(function: Callable[[torch.Tensor], torch.Tensor], value: torch.distributions.Distribution) -> Any:
    """A distribution with other parameters; what it has computed of them (`probs` of logits) is computed again when asked for."""
    other = copy.copy(value)
    given = vars(value).get("_param")
    made: dict[int, Any] = {}  # one tensor under two names stays one
    for name, item in vars(value).items():
        if isinstance(inspect.getattr_static(type(value), name, None), lazy_property) and item is not given:
            del vars(other)[name]
        elif isinstance(item, (torch.Tensor, torch.distributions.Distribution)):
            made[id(item)] = vars(other)[name] = made[id(item)] if id(item) in made else map_tensors(function, item)
    return other


def _rebuilt(value: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    """A mapping of the same class with other items: a model may read an encoding's attributes, or a default's factory."""
    if type(value) is dict:
        return items
    try:
        other: Any = copy.copy(value)
        if isinstance(other, UserDict):
            other.data = dict(other.data)  # a shallow copy shares its items
        for key, item in items.items():
            other[key] = item
    except Exception:  # a mapping that cannot be written to
        return items
    return other


def move(value: Any, device: torch.device | str) -> Any:
    """`value` with its tensors on `device`; an object with its own `.to` (a graph batch, an encoding, a packed sequence) uses that."""
    if not isinstance(value, torch.Tensor) and callable(getattr(value, "to", None)):
        return value.to(device)
    return map_tensors(lambda tensor: tensor.to(device), value)


def beside(there: Any, value: Any) -> Any:
    """`value` on the device of the first tensor of `there`, as a training loop puts a loader's batch where the model is.

    As it is where both are on one device, and where one of them has no tensors or no values (the meta device).
    """
    wanted, given = (next(tensors_in(one), None) for one in (there, value))
    if wanted is None or given is None or wanted.device == given.device or wanted.is_meta or given.is_meta:
        return value
    return move(value, wanted.device)


def shape_of(tensor: torch.Tensor) -> tuple[int, ...]:
    """The tensor's shape; of a nested one, whose parts differ, how many parts it has."""
    return (int(tensor.size(0)),) if tensor.is_nested else tuple(tensor.shape)


def is_dense(tensor: torch.Tensor) -> bool:
    """Whether the tensor is a box of numbers: not sparse, nested or packed by a library, whose axes cannot be cut."""
    return tensor.layout is torch.strided and not tensor.is_nested and not tensor.is_quantized


def is_fake(tensor: torch.Tensor) -> bool:
    """Whether the tensor has no values: on the meta device, or a fake tensor."""
    return bool(tensor.is_meta) or type(tensor).__name__ == "FakeTensor"


def has_shape(tensor: torch.Tensor) -> bool:
    """Whether a tensor can be asked for its shape: a nested one of the strided layout has none, and raises."""
    return not (tensor.is_nested and tensor.layout is torch.strided)


def is_strided(tensor: torch.Tensor) -> bool:
    """Whether the tensor lies in a storage of its own: not sparse, nested, fake, or a wrapper around others.

    A wrapper subclass claims a storage of its size where no memory is; reading it would end the process.
    """
    if tensor.layout is not torch.strided or tensor.is_nested or tensor.is_quantized:
        return False
    try:
        if type(tensor) in _PLAIN and tensor.data_ptr() != 0:  # what most are; a tensor on the meta device lies at 0
            return True
        if is_fake(tensor):
            return False
        storage = tensor.untyped_storage()
        has_memory = storage.nbytes() == 0 or storage.data_ptr() != 0
        return has_memory and tensor.storage_offset() >= 0
    except (RuntimeError, NotImplementedError):
        return False


def is_scalar(value: Any) -> TypeGuard[torch.Tensor]:
    """Whether `value` is a tensor with a single element."""
    return isinstance(value, torch.Tensor) and value.numel() == 1


def describe(value: Any) -> str:
    """A value in a few words, for an error message: its type, and what tells it apart."""
    if value is None:
        return "None"
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {shape_text(shape_of(value))}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, tuple):
        return f"a tuple ({', '.join(describe(item) for item in value[:6])}{', ...' if len(value) > 6 else ''})"
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} with keys {', '.join(map(repr, list(value)[:6]))}"
    if isinstance(value, (str, int, float, bool)):
        return f"{type(value).__name__} {value!r:.60}"
    if callable(value) and hasattr(value, "__name__"):
        return f"the function {value.__name__}"
    article = "an" if type(value).__name__[:1].lower() in set("aeiou") else "a"
    return f"{article} {type(value).__name__}"


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as it is written in `--input`: 8x3x32x32; "()" for a single number."""
    return "x".join(map(str, shape)) or "()"


def summary(value: Any) -> str:
    """The shapes and dtypes of a batch in one line, as in `8x16 int64, mask=8x16 bool`."""
    if isinstance(value, torch.Tensor):
        return f"{shape_text(shape_of(value))} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={summary(item)}" for key, item in value.items())
    if isinstance(value, list) and len(value) > 1:
        return f"a list of {len(value)} ({summary(value[0])}, ...)"
    if isinstance(value, (tuple, list)):
        return ", ".join(summary(item) for item in value)
    return describe(value)
