"""The memory under tensors: how each lies in its storage, and the stretches of storage that are copied and compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from nnlint.capture.torch_private import storage_identity, version

#: Bytes from which a region is only compared by the version counters of its tensors when a probe has just read.
_LARGE = 1 << 16
#: Integers of a region that are compared when its version counters say that nothing was written.
_SAMPLE = 256
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

    def sample(self) -> tuple[Tensor, Tensor]:
        """A few of the bytes as they are and as they were: a moving average that is written through `.data` changes them all."""
        live, saved = self.live(), cast(Tensor, self.saved)
        step = max(len(saved) // _SAMPLE, 1)
        return live[::step], saved[::step]

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


def written(regions: Iterable[Region]) -> list[Region]:
    """The regions that a probe which was only to read has written to, as far as version counters and a sample show.

    The samples of a device are compared together: to look at each would wait for the device each time.
    """
    counted, rest = [], defaultdict(list)
    for region in regions:
        if region.seems_unchanged():
            rest[region.storage.device].append(region)
        else:
            counted.append(region)
    for alike in rest.values():
        unlike = torch.stack([torch.ne(*region.sample()).any() for region in alike]).tolist()
        counted += [region for region, differs in zip(alike, unlike, strict=True) if differs]
    return counted


def by_storage(regions: list[Region]) -> dict[int, list[Region]]:
    """The regions of each storage, by its identity."""
    table: dict[int, list[Region]] = defaultdict(list)
    for region in regions:
        table[storage_identity(region.storage)].append(region)
    return table


def regions_under(tensors: Iterable[tuple[Tensor, Geometry, torch.UntypedStorage]]) -> list[Region]:
    """The stretches of storage under tensors of these geometries; overlapping ones (tied parameters, views) once."""
    ranges: dict[int, list[tuple[int, int, Tensor]]] = defaultdict(list)
    storages: dict[int, torch.UntypedStorage] = {}
    for tensor, geometry, storage in tensors:
        start, stop = geometry.byte_range()
        size = storage.nbytes()
        if start < min(stop, size):  # a storage may be freed while its tensor waits (sharded parameters)
            # Rounded to eight bytes where the storage allows it: compared as long integers, five times as fast.
            found = (start - start % 8, min(stop + -stop % 8, size), tensor)
            ranges[storage_identity(storage)].append(found)
            storages[storage_identity(storage)] = storage
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
