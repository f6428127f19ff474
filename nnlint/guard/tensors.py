"""Tensors as they were: contents, geometry, gradients, flags and hooks, compared and restored bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from nnlint.capture.torch_private import hook_tables, set_versions, storage_identity, version, without_subclasses
from nnlint.guard.parts import Parts, inner_tensors
from nnlint.guard.reach import ContainerState
from nnlint.guard.regions import Geometry, by_storage, regions_under, same_bits, written
from nnlint.tensors import is_fake, is_strided


@dataclass
class Record:
    """Everything about one tensor but the bytes it shares with others."""

    tensor: Tensor
    kind: type
    geometry: Geometry | None
    storage: torch.UntypedStorage | None
    requires_grad: bool
    leaf: bool
    grad: Tensor | None
    hooks: dict[str, tuple[Any, ContainerState | None]]
    attributes: ContainerState
    version: int | None
    parts: Parts | None = None
    inner: tuple[tuple[str, Tensor], ...] = ()
    copy: Tensor | None = None  # only for tensors with neither a storage nor parts of their own (mkldnn, quantized)

    @classmethod
    def of(cls, tensor: Tensor) -> Record:
        """Read a tensor's state."""
        geometry: Geometry | None = None
        storage: torch.UntypedStorage | None = None
        strided = is_strided(tensor)
        if strided:
            geometry, storage = Geometry.of(tensor), tensor.untyped_storage()
        leaf = bool(tensor.is_leaf)
        hooks = {
            name: (table, None if table is None else ContainerState(table))
            for name, table in hook_tables(tensor).items()
        }
        return cls(
            tensor,
            type(tensor),
            geometry,
            storage,
            bool(tensor.requires_grad),
            leaf,
            tensor.grad if leaf else None,
            hooks,
            ContainerState(vars(tensor)),
            version(tensor),
            None if strided or is_fake(tensor) else Parts.of(tensor),
            () if strided or is_fake(tensor) else tuple(inner_tensors(tensor)),
        )

    @property
    def made_of(self) -> tuple[Tensor, ...]:
        """The tensors that hold this one's contents, where it is sparse, nested or a wrapper."""
        inner = tuple(tensor for _, tensor in self.inner)
        return inner if self.parts is None else (*inner, *self.parts.tensors)

    @property
    def is_opaque(self) -> bool:
        """Whether nothing but a copy of the whole tells its contents."""
        return self.storage is None and not self.made_of and not is_fake(self.tensor)

    def restore_geometry(self) -> None:
        """Point the tensor at its own storage again, as long as it was."""
        tensor = self.tensor
        if type(tensor) is not self.kind:
            cast(Any, tensor).__class__ = self.kind
        if self.leaf and tensor.grad_fn is not None:
            tensor.detach_()
        if self.parts is not None:
            self.parts.put_back(tensor)
        if self.storage is None or self.geometry is None:
            return
        moved = not is_strided(tensor) or storage_identity(tensor.untyped_storage()) != storage_identity(self.storage)
        if moved or Geometry.of(tensor) != self.geometry:
            tensor.data = self.geometry.view_of(self.storage)

    def restore_flags(self) -> None:
        """Gradient (the same object), requires_grad, hooks and python attributes."""
        tensor = self.tensor
        if self.leaf:
            if bool(tensor.requires_grad) != self.requires_grad:
                tensor.requires_grad_(self.requires_grad)
            if tensor.grad is not self.grad:
                tensor.grad = self.grad
        for name, (table, items) in self.hooks.items():
            if items is not None:
                items.restore()
            if getattr(tensor, name) is not table:
                setattr(tensor, name, table)
        self.attributes.restore()
        for name, inner in self.inner:
            if getattr(tensor, name) is not inner:
                setattr(tensor, name, inner)


class TensorStore:
    """The tensors of a setup as they were."""

    def __init__(self, tensors: Iterable[Tensor], *, contents: bool = True) -> None:
        with without_subclasses(), torch.no_grad():
            self.records = list(_records(tensors))
            self._by_identity = {id(record.tensor): record for record in self.records}
            self._regions = regions_under(_located(self.records))
            self._by_storage = by_storage(self._regions)
            storages = [record.storage for record in self.records if record.storage is not None]
            self._sizes = {storage_identity(storage): (storage, storage.nbytes()) for storage in storages}
            if contents:
                self._save()

    def _save(self) -> None:
        for region in self._regions:
            region.save()
        for record in self.records:
            if record.is_opaque:
                with suppress(RuntimeError, NotImplementedError):  # what cannot be cloned is not written to either
                    record.copy = record.tensor.detach().clone()

    def saved(self, tensor: Tensor) -> Tensor | None:
        """The contents a recorded tensor had; None for one that was not recorded, or whose contents were not kept."""
        record = self._by_identity.get(id(tensor))
        if record is None or record.tensor is not tensor:
            return None
        return record.copy if record.copy is not None else self._saved_view(record)

    def differs(self, tensor: Tensor) -> bool:
        """Whether a recorded tensor's contents are now other than they were."""
        with without_subclasses(), torch.no_grad():
            record = self._by_identity.get(id(tensor))
            if record is None:
                return False
            if record.parts is not None and not record.parts.are_those_of(tensor):
                return True
            if record.made_of:
                return any(self.differs(part) for part in record.made_of)
            if record.copy is not None:
                return not _same_values(record.copy, tensor)
            saved = self._saved_view(record)
            if saved is None or not is_strided(tensor):
                return False
            if tensor.size() != saved.size() or tensor.dtype != saved.dtype:
                return True
            return not same_bits(tensor.detach(), saved)

    def _saved_view(self, record: Record) -> Tensor | None:
        geometry, storage = record.geometry, record.storage
        if geometry is None or storage is None:
            return None
        first, last = geometry.byte_range()
        for region in self._by_storage.get(storage_identity(storage), ()):
            if region.start <= first and last <= region.stop:
                if region.saved is None:
                    return None
                offset = (first - region.start) // geometry.dtype.itemsize
                moved = Geometry(geometry.dtype, offset, geometry.size, geometry.stride)
                return moved.view_of(region.saved.untyped_storage())
        return None

    def isolate_gradients(self) -> None:
        """Take the gradients off, so that a backward cannot add to the caller's tensors."""
        with without_subclasses():
            for record in self.records:
                if record.leaf and record.grad is not None:
                    record.tensor.grad = None

    def restore(self, *, after_reading: bool = False) -> list[Exception]:
        """Put everything back; what could not be is returned.

        Args:
            after_reading: large tensors that nobody has written to, as far as torch counts and a sample shows, are not compared.
        """
        failures: list[Exception] = []
        with without_subclasses(), torch.no_grad():
            for storage, size in self._sizes.values():
                if storage.nbytes() != size:
                    storage.resize_(size)
            regions = self._regions
            if after_reading:
                with suppress(RuntimeError):  # a storage that was taken away: the restoration of each says so
                    regions = written(regions)
            for region in regions:
                attempt(region.restore, failures)
            for record in self.records:
                attempt(record.restore_geometry, failures)
                if record.copy is not None:
                    attempt(lambda record=record: _restore_copy(record), failures)
                attempt(record.restore_flags, failures)
            attempt(self._restore_versions, failures)
        return failures

    def _restore_versions(self) -> None:
        """Set back how often torch counted a write: a graph of the caller's that waits for its backward compares them."""
        known = [record for record in self.records if record.version is not None and not record.tensor.is_inference()]
        written = [record for record in known if version(record.tensor) != record.version]
        set_versions([record.tensor for record in written], [record.version or 0 for record in written])


def attempt(step: Callable[..., None], failures: list[Exception]) -> None:
    """Run one step of a restoration; the others must run whatever becomes of it."""
    try:
        step()
    except Exception as failure:
        failures.append(failure)


def _restore_copy(record: Record) -> None:
    saved = record.copy
    if saved is not None and not _same_values(record.tensor, saved):
        record.tensor.data = saved.clone()


def _same_values(tensor: Tensor, saved: Tensor) -> bool:
    try:
        if tensor.layout is not torch.strided:
            tensor, saved = tensor.to_dense(), saved.to_dense()
        return same_bits(tensor, saved) if not tensor.is_quantized else bool(torch.equal(tensor, saved))
    except (RuntimeError, NotImplementedError):
        return False


def _records(tensors: Iterable[Tensor]) -> Iterator[Record]:
    """A record for each tensor, and for the parts of those that are made of others."""
    waiting, seen = list(tensors), set()
    for tensor in waiting:
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        record = Record.of(tensor)
        yield record
        waiting += record.made_of


def _located(records: Iterable[Record]) -> Iterator[tuple[Tensor, Geometry, torch.UntypedStorage]]:
    """The tensors that lie in a storage of their own."""
    for record in records:
        if record.geometry is not None and record.storage is not None:
            yield record.tensor, record.geometry, record.storage
