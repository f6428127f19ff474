"""Walking nested batches of tensors, and describing any object in a few words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeGuard

import torch


def map_tensors(function: Callable[[torch.Tensor], torch.Tensor], value: Any) -> Any:
    """`value` with every tensor in it replaced; tuples, named tuples, lists and mappings are rebuilt."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, Mapping):
        return {key: map_tensors(function, item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(function, item) for item in value))
    if isinstance(value, (tuple, list)):
        return type(value)(map_tensors(function, item) for item in value)
    return value


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in a nested structure, in order; also inside dataclass-like outputs that are mappings."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)


def move(value: Any, device: torch.device | str) -> Any:
    """`value` with its tensors on `device`; an object with its own `.to` (a graph batch, an encoding) uses that."""
    if not isinstance(value, (torch.Tensor, Mapping, tuple, list)) and callable(getattr(value, "to", None)):
        return value.to(device)
    return map_tensors(lambda tensor: tensor.to(device), value)


def is_scalar(value: Any) -> TypeGuard[torch.Tensor]:
    """Whether `value` is a tensor with a single element."""
    return isinstance(value, torch.Tensor) and value.numel() == 1


def describe(value: Any) -> str:
    """A value in a few words, for an error message: its type, and what tells it apart."""
    if value is None:
        return "None"
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {shape_text(tuple(value.shape))}"
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
        return f"{shape_text(tuple(value.shape))} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={summary(item)}" for key, item in value.items())
    if isinstance(value, list) and len(value) > 1:
        return f"a list of {len(value)} ({summary(value[0])}, ...)"
    if isinstance(value, (tuple, list)):
        return ", ".join(summary(item) for item in value)
    return describe(value)
