"""Telling samples apart: an exact hash of each sample of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnlint import Skip

if TYPE_CHECKING:
    from torch import Tensor

    from nnlint import Batch

#: A sample with fewer entries than this repeats by chance (a few categorical features).
DISTINCT_ENTRIES = 8

_WORD = 8  # bytes of one 64-bit integer
_CHUNK = 1 << 20  # words hashed at once: 8 MiB, so that a large batch is not copied whole


def hashes(batch: Batch) -> list[int]:
    """A 64-bit hash of each sample over all its input tensors; empty where samples cannot be told apart.

    Raises:
        Skip: the samples have no values.
    """
    views = [view for view in batch.inputs if view.is_dense and view.shape and view.samples == batch.samples > 0]
    tensors = [view.by_sample for view in views if view.tensor.numel()]
    if any(tensor.is_meta for tensor in tensors):
        raise Skip("the batch is on the meta device: it has no values")
    # What is the same for all (a state of zeros) tells no sample from another.
    telling = [tensor for tensor in tensors if bool((tensor != tensor[:1]).any())] or tensors
    if not tensors or sum(tensor[0].numel() for tensor in telling) < DISTINCT_ENTRIES or not _is_varied(tensors):
        return []
    columns = [_hashes(tensor[: batch.samples]).tolist() for tensor in tensors]
    return [hash(numbers) for numbers in zip(*columns, strict=True)]


def _is_varied(tensors: list[Tensor]) -> bool:
    """Whether samples carry more than a few bits: tables of flags and small counts repeat by chance."""
    return any(len(_numbers(tensor[:64]).unique()) > DISTINCT_ENTRIES for tensor in tensors)


def _numbers(tensor: Tensor) -> Tensor:
    """Complex values as pairs: torch has no order for them, which `unique` needs."""
    return tensor.resolve_conj().view(tensor.real.dtype) if tensor.is_complex() else tensor


def _hashes(tensor: Tensor) -> Tensor:
    """One number for each sample. Exact: equal bits give equal ones whatever batch they came in, which a float sum would not promise."""
    import torch

    size = -(-tensor[0].numel() * tensor.element_size() // _WORD)
    weights = _weights(size)
    per_chunk = max(_CHUNK // max(size, 1), 1)
    return torch.cat([(_words(chunk) * weights).sum(1) for chunk in tensor.split(per_chunk)])


def _words(samples: Tensor) -> Tensor:
    """The bytes of each sample as 64-bit integers: (samples, words)."""
    import torch

    raw = samples.detach().cpu().resolve_conj().contiguous().reshape(len(samples), samples[0].numel())
    data = (raw.to(torch.uint8) if raw.dtype == torch.bool else raw).view(torch.uint8)
    return torch.nn.functional.pad(data, (0, -data.shape[1] % _WORD)).view(torch.int64)


def _weights(size: int) -> Tensor:
    """Odd, so that no word is lost modulo 2^64."""
    import torch

    return torch.randint(-(2**63), 2**63 - 1, (size,), generator=torch.Generator().manual_seed(0)) | 1
