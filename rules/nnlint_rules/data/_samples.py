"""Telling samples apart: an exact hash of each sample of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from nnlint import Batch

#: A sample with fewer entries than this repeats by chance (a few categorical features).
DISTINCT_ENTRIES = 8


def hashes(batch: Batch) -> list[int]:
    """A 64-bit hash of each sample over all its input tensors; empty where samples cannot be told apart."""
    views = [view for view in batch.inputs if view.is_dense and view.shape and view.samples == batch.samples > 0]
    tensors = [view.by_sample for view in views]
    if not tensors or sum(tensor[0].numel() for tensor in tensors) < DISTINCT_ENTRIES or not _is_varied(tensors):
        return []
    weights = [_weights(tensor[0]) for tensor in tensors]
    return [
        hash(tuple(_hash(tensor[index], weight) for tensor, weight in zip(tensors, weights, strict=True)))
        for index in range(batch.samples)
    ]


def _is_varied(tensors: list[Tensor]) -> bool:
    """Whether samples carry more than a few bits: tables of flags and small counts repeat by chance."""
    return any(len(_numbers(tensor[:64]).unique()) > DISTINCT_ENTRIES for tensor in tensors)


def _numbers(tensor: Tensor) -> Tensor:
    """Complex values as pairs: torch has no order for them, which `unique` needs."""
    return tensor.resolve_conj().view(tensor.real.dtype) if tensor.is_complex() else tensor


def _hash(sample: Tensor, weights: Tensor) -> int:
    """Exact: equal bits give equal hashes whatever batch they came in, which a float sum would not promise."""
    return int((_words(sample) * weights).sum())


def _words(sample: Tensor) -> Tensor:
    """The sample's bytes as 64-bit integers."""
    import torch

    raw = sample.detach().cpu().contiguous().reshape(-1)
    data = (raw.to(torch.uint8) if raw.dtype == torch.bool else raw).view(torch.uint8)
    return torch.nn.functional.pad(data, (0, -data.numel() % 8)).view(torch.int64)


def _weights(sample: Tensor) -> Tensor:
    """Odd, so that no word is lost modulo 2^64."""
    import torch

    size = _words(sample).shape
    return torch.randint(-(2**63), 2**63 - 1, size, generator=torch.Generator().manual_seed(0)) | 1
