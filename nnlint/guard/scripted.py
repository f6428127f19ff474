"""Scripted and traced modules: children, flags and counters that live in C++, where no walk over attributes comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from nnlint.capture.torch_private import scripted_attributes, set_scripted_attribute

#: Values of scripted attributes that are kept: what a forward counts or remembers. Tensors are kept as tensors.
_KEPT = (bool, int, float, str, type(None), list, dict, tuple)


def is_scripted(module: nn.Module) -> bool:
    """Whether the module's state lives in C++."""
    return isinstance(module, torch.jit.ScriptModule)


def scripted_children(module: nn.Module) -> Iterator[nn.Module]:
    """Every module below a scripted or traced one; nothing for others, whose attributes lead to their children."""
    if is_scripted(module):
        yield from (child for child in module.modules() if child is not module)


def scripted_tensors(module: nn.Module) -> Iterator[Tensor]:
    """Parameters, buffers and the tensors in the attributes of a scripted module."""
    if not is_scripted(module):
        return
    yield from module.parameters()
    yield from module.buffers()
    for _, value in scripted_attributes(module):
        items = value if isinstance(value, (list, tuple)) else value.values() if isinstance(value, dict) else (value,)
        yield from (item for item in items if isinstance(item, Tensor))


class ScriptedState:
    """The training flag and the attributes of one scripted or traced module, without its children."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._training = getattr(module, "training", None)
        self._values = {name: _copied(value) for name, value in scripted_attributes(module) if isinstance(value, _KEPT)}

    def restore(self) -> None:
        """Put back what differs."""
        module: Any = self._module
        if isinstance(self._training, bool) and module.training is not self._training:
            module.training = self._training
        for name, value in scripted_attributes(module):
            if name in self._values and not _same(value, self._values[name]):
                set_scripted_attribute(module, name, _copied(self._values[name]))


def _copied(value: Any) -> Any:
    """Lists and dicts are handed out as copies or as live objects, depending on how the script got them."""
    if isinstance(value, list):
        return list(value)
    return dict(value) if isinstance(value, dict) else value


def _same(one: Any, other: Any) -> bool:
    """Equality that does not compare tensors by value."""
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return one is other
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(map(_same, one.values(), other.values()))
    return bool(one == other)
