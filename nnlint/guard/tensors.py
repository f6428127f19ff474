"""Contents, geometry, gradients and flags of tensors: one copy, compared and restored bit for bit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from nnlint.capture.torch_private import hook_tables, set_versions, storage_identity, version, without_subclasses
from nnlint.guard.parts import Parts, inner_tensors
from nnlint.guard.reach import ContainerState

#: Bytes from which a region is only compared by the version counters of its tensors when a probe has just read.
_LARGE = 1 << 16
_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class Geometry:
    """How a tensor lies in its storage."""

    dtype: torch.dtype
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> Geometry:
        """Read a tensor's geometry."""
        return cls(tensor.dtype, int(tensor.storage_offset()), tuple(tensor.size()), tuple(tensor.stride()))

    def byte_range(self) -> tuple[int, int]:
        """First byte and one past the last byte that the tensor can reach in its storage."""
        width = self.dtype.itemsize
        if 0 in self.size:
            return self.offset * width, self.offset * width
        span = sum((length - 1) * step for length, step in zip(self.size, self.stride, strict=True))
        return self.offset * width, (self.offset + span + 1) * width

    def view_of(self, storage: torch.UntypedStorage) -> Tensor:
        """A new tensor over `storage` with this geometry."""
        made = torch.empty(0, dtype=self.dtype, device=storage.device)
        return made.set_(cast(Any, storage), self.offset, self.size, self.stride)


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two strided tensors of the same dtype and shape are equal bit for bit, NaN payloads included."""
    if one.is_complex():
        one, other = torch.view_as_real(one.resolve_conj()), torch.view_as_real(other.resolve_conj())
    integer = _INTEGERS.get(one.dtype.itemsize)
    if integer is None:
        return bool(torch.equal(one, other))
    return bool(torch.equal(one.view(integer), other.view(integer)))


@dataclass
class Region:
    """A stretch of a storage, shared by every tensor that lies in it, and the copy of its bytes."""

    storage: torch.UntypedStorage
    start: int
    stop: int
    saved: Tensor | None = None
    tensors: tuple[Tensor, ...] = ()
    versions: tuple[int, ...] | None = None

    def live(self) -> Tensor:
        """The bytes as they are now, as the widest integers that fit."""
        length = self.stop - self.start
        width = 8 if self.start % 8 == 0 and length % 8 == 0 else 1
        geometry = Geometry(_INTEGERS[width], self.start // width, (length // width,), (1,))
        return geometry.view_of(self.storage)

    def save(self) -> None:
        """Copy the bytes."""
        self.saved = self.live().clone()
        self.versions = _versions(self.tensors)

    def seems_unchanged(self) -> bool:
        """Whether nothing was written as far as torch counts: it misses writes through `.data` and to statistics of norms."""
        if self.stop - self.start < _LARGE or self.versions is None:
            return False
        return _versions(self.tensors) == self.versions

    def restore(self) -> None:
        """Write the bytes back where they differ."""
        if self.saved is None:
            return
        live = self.live()
        if not torch.equal(live, self.saved):
            live.copy_(self.saved)


def _versions(tensors: tuple[Tensor, ...]) -> tuple[int, ...] | None:
    """How often each was written to; None where torch does not count."""
    found = [version(tensor) for tensor in tensors]
    return None if None in found else tuple(count for count in found if count is not None)


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


def is_fake(tensor: Tensor) -> bool:
    """Whether the tensor has no values: on the meta device, or a fake tensor."""
    return bool(tensor.is_meta) or type(tensor).__name__ == "FakeTensor"


def is_strided(tensor: Tensor) -> bool:
    """Whether the tensor lies in a storage of its own: not sparse, nested, fake, or a wrapper around others.

    A wrapper subclass claims a storage of its size where no memory is; reading it would end the process.
    """
    if tensor.layout is not torch.strided or is_fake(tensor) or tensor.is_nested or tensor.is_quantized:
        return False
    try:
        storage = tensor.untyped_storage()
        has_memory = storage.nbytes() == 0 or storage.data_ptr() != 0
        return has_memory and tensor.storage_offset() >= 0
    except (RuntimeError, NotImplementedError):
        return False


class TensorStore:
    """The tensors of a setup as they were."""

    def __init__(self, tensors: Iterable[Tensor], *, contents: bool = True) -> None:
        with without_subclasses(), torch.no_grad():
            self.records = list(_records(tensors))
            self._by_identity = {id(record.tensor): record for record in self.records}
            self._regions = _regions(self.records)
            self._by_storage = _by_storage(self._regions)
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
            after_reading: large tensors that nobody has written to, as far as torch counts, are not compared.
        """
        failures: list[Exception] = []
        with without_subclasses(), torch.no_grad():
            for storage, size in self._sizes.values():
                if storage.nbytes() != size:
                    storage.resize_(size)
            for region in self._regions:
                if not (after_reading and region.seems_unchanged()):
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


def _by_storage(regions: list[Region]) -> dict[int, list[Region]]:
    table: dict[int, list[Region]] = defaultdict(list)
    for region in regions:
        table[storage_identity(region.storage)].append(region)
    return table


def _regions(records: list[Record]) -> list[Region]:
    """The stretches of storage under the records' tensors; overlapping ones (tied parameters, views) once."""
    ranges: dict[int, list[tuple[int, int, Tensor]]] = defaultdict(list)
    storages: dict[int, torch.UntypedStorage] = {}
    for record in records:
        if record.geometry is None or record.storage is None:
            continue
        start, stop = record.geometry.byte_range()
        size = record.storage.nbytes()
        if start < min(stop, size):  # a storage may be freed while its tensor waits (sharded parameters)
            # Rounded to eight bytes where the storage allows it: compared as long integers, five times as fast.
            found = (start - start % 8, min(stop + -stop % 8, size), record.tensor)
            ranges[storage_identity(record.storage)].append(found)
            storages[storage_identity(record.storage)] = record.storage
    return [region for key, found in ranges.items() for region in _joined(storages[key], found)]


def _joined(storage: torch.UntypedStorage, ranges: list[tuple[int, int, Tensor]]) -> Iterator[Region]:
    """The regions of one storage: ranges that overlap are one."""
    current: Region | None = None
    for start, stop, tensor in sorted(ranges, key=lambda found: found[:2]):
        if current is not None and start < current.stop:
            current.stop = max(current.stop, stop)
            current.tensors += (tensor,)
            continue
        if current is not None:
            yield current
        current = Region(storage, start, stop, tensors=(tensor,))
    if current is not None:
        yield current
