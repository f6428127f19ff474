"""Histograms of magnitudes on a logarithmic scale, measured in passing: counts in 64 bins over sixteen powers of ten."""

from __future__ import annotations

from collections.abc import Iterable

import torch

#: Bins, and the powers of ten of the first bin's left and the last bin's right edge. What lies outside counts in the outer bins;
#: exact zeros count in the first.
BINS = 64
LOWEST = -12.0
HIGHEST = 4.0

#: Entries that are looked at, evenly spaced over the tensor: the shape of a distribution needs no more, and the cost is bounded.
_SAMPLED = 8192


def counts(values: torch.Tensor) -> torch.Tensor | None:
    """How many entries have which magnitude: a tensor of `BINS` counts; None for what has no plain values."""
    if values.layout is not torch.strided or values.is_complex() or not values.numel():
        return None
    flat = values.detach().reshape(-1)
    step = -(-flat.numel() // _SAMPLED)
    sampled = flat[::step].abs().float()
    powers = sampled.clamp(10.0**LOWEST, 10.0**HIGHEST).log10_().nan_to_num_(nan=HIGHEST)
    return torch.histc(powers, bins=BINS, min=LOWEST, max=HIGHEST)


def settled(histograms: Iterable[torch.Tensor | None]) -> list[tuple[int, ...]]:
    """The counts as plain numbers, in one transfer for each device; empty where there are none."""
    kept = list(histograms)
    present = [item for item in kept if item is not None]
    if not present:
        return [() for _ in kept]
    rows = iter(torch.stack([item.to(present[0].device) for item in present]).tolist())
    return [() if item is None else tuple(int(count) for count in next(rows)) for item in kept]
