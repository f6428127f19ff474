"""Histograms of magnitudes on a logarithmic scale, measured in passing: counts in 64 bins over sixteen powers of ten."""

from __future__ import annotations

from collections.abc import Iterable

import torch

#: Bins, and the powers of ten of the first bin's left and the last bin's right edge. What lies outside counts in the outer bins;
#: exact zeros count in the first.
BINS = 64
LOWEST = -12.0
HIGHEST = 4.0

#: Runs of neighbours that are looked at in a larger tensor, evenly spaced, and their length: the shape of a distribution needs no more,
#: and the cost is bounded. Single entries far apart would each cost a line of the cache.
_RUNS, _RUN = 512, 8

#: Kinds of operations that are rows of the report's table of layers: only these are counted.
DRAWN = frozenset({"linear-map", "rectifier", "saturating", "recurrent", "attention", "norm"})


def magnitudes(values: torch.Tensor) -> torch.Tensor | None:
    """Some of the tensor's magnitudes, to be counted later by `settled`; None for what has no plain values."""
    if values.layout is not torch.strided or values.is_complex() or not values.numel():
        return None
    return _sampled(values.detach().reshape(-1)).abs().float().reshape(-1)


def _sampled(flat: torch.Tensor) -> torch.Tensor:
    """Runs of the tensor at an odd distance, which is no multiple of the width of an image or of a layer."""
    if flat.numel() <= _RUNS * _RUN:
        return flat
    distance = (flat.numel() // _RUNS - 1) | 1
    return flat[: _RUNS * distance].view(_RUNS, distance)[:, :_RUN]


def settled(samples: Iterable[torch.Tensor | None]) -> list[tuple[int, ...]]:
    """How many of each tensor's magnitudes lie in each of the `BINS`; empty where there are none.

    All of them are counted at once, after one transfer: one by one they took three times as long.
    """
    kept = list(samples)
    present = [item for item in kept if item is not None]
    if not present:
        return [() for _ in kept]
    with torch.no_grad():
        together = torch.cat([item.to(present[0].device) for item in present]).cpu()
        powers = together.clamp_(10.0**LOWEST, 10.0**HIGHEST).log10_().nan_to_num_(nan=HIGHEST)
        bins = powers.sub_(LOWEST).mul_(BINS / (HIGHEST - LOWEST)).to(torch.int64).clamp_(max=BINS - 1)
        owners = torch.repeat_interleave(torch.tensor([item.numel() for item in present]))
        rows = (owners * BINS + bins).bincount(minlength=len(present) * BINS).view(-1, BINS).tolist()
    counted = iter(rows)
    return [() if item is None else tuple(next(counted)) for item in kept]
