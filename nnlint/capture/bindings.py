"""Which node produced a tensor: identity by weak reference, writes in place and through views by version counters."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from nnlint.capture import torch_private

#: Called with the stale node and the writer: makes the node that stands for the tensor after a write through an alias.
AfterWrite = Callable[[fx.Node, fx.Node], fx.Node]
#: Called with a multi-output node and an index path: makes the `getitem` node when somebody reads that output.
GetItem = Callable[[fx.Node, tuple[Any, ...]], fx.Node]


@dataclass
class _Entry:
    reference: weakref.ref[torch.Tensor]
    node: fx.Node
    path: tuple[Any, ...]
    version: int
    storage: int


class Bindings:
    """Map of live tensors to the nodes that made them. Keeps no tensor alive."""

    def __init__(self, *, after_write: AfterWrite, get_item: GetItem) -> None:
        self._entries: dict[int, _Entry] = {}
        self._last_write: dict[int, fx.Node] = {}
        self._after_write = after_write
        self._get_item = get_item

    def bind(self, tensor: torch.Tensor, node: fx.Node, path: tuple[Any, ...] = ()) -> None:
        """Say that `tensor` is output `path` of `node` (empty path: the whole output)."""
        entry = _Entry(weakref.ref(tensor), node, path, version(tensor), storage_key(tensor))
        self._entries.pop(id(tensor), None)  # an identity that is used again: the order is that of the bindings
        self._entries[id(tensor)] = entry

    def wrote(self, tensor: torch.Tensor, node: fx.Node) -> None:
        """Say that `node` changed `tensor` in place."""
        self.bind(tensor, node)
        self._last_write[storage_key(tensor)] = node

    def maker(self, tensor: torch.Tensor) -> fx.Node | None:
        """The node that made the tensor, as it was bound: without a node for one of several outputs, or for later writes."""
        entry = self._entries.get(id(tensor))
        return entry.node if entry is not None and entry.reference() is tensor else None

    def alive(self) -> Iterator[fx.Node]:
        """Nodes of the tensors that somebody still holds."""
        return (entry.node for entry in self._entries.values() if entry.reference() is not None)

    def sharing_memory(self, tensor: torch.Tensor) -> fx.Node | None:
        """The node last bound to a live tensor with the same memory as this unknown one, or None."""
        address = memory_address(tensor)
        if address is None:
            return None
        for entry in reversed(list(self._entries.values())):
            known = entry.reference()
            if known is not None and known is not tensor and memory_address(known) == address:
                return self.find(known)
        return None

    def last_of_memory(self, tensor: torch.Tensor) -> fx.Node | None:
        """The node last bound to the storage of this tensor, whose own tensor may be gone: what holds a storage keeps its identity.

        Only for a tensor that is known to come from a recorded call: a storage made elsewhere may have taken a dead one's place.
        """
        key = storage_key(tensor)
        found = next((entry for entry in reversed(self._entries.values()) if entry.storage == key), None)
        return found.node if found is not None else None

    def find(self, tensor: torch.Tensor) -> fx.Node | None:
        """The node whose value the tensor holds now, or None for a tensor of unknown origin."""
        entry = self._entries.get(id(tensor))
        if entry is None or entry.reference() is not tensor:
            return None
        if entry.path:
            entry.node, entry.path = self._get_item(entry.node, entry.path), ()
        current = version(tensor)
        if current != entry.version:
            writer = self._last_write.get(entry.storage)
            if writer is not None and writer is not entry.node:
                entry.node = self._after_write(entry.node, writer)
            entry.version = current
        return entry.node


def version(tensor: torch.Tensor) -> int:
    """The tensor's write counter; 0 where torch keeps none (inference tensors)."""
    return torch_private.version(tensor) or 0


def storage_key(tensor: torch.Tensor) -> int:
    """An identity of the memory behind the tensor; the tensor's own where there is no storage (sparse, opaque)."""
    try:
        return torch_private.storage_identity(tensor.untyped_storage())
    except (RuntimeError, NotImplementedError, AttributeError):
        return -id(tensor)


def memory_address(tensor: torch.Tensor) -> int | None:
    """Where the tensor's storage begins; None for one without memory (empty, fake, meta, sparse, inside a transform)."""
    if torch_private.is_transformed(tensor):
        return None
    try:
        return tensor.untyped_storage().data_ptr() or None
    except (RuntimeError, NotImplementedError, AttributeError):
        return None
