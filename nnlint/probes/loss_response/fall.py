"""Whether a loss has no lowest value: it falls on every side, the farther an output is moved.

Calibration of the limits: docs/evidence/calibration.md#code-limits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise

import torch

from nnlint.probes.loss_response.caller import LossCaller, Refused
from nnlint.probes.loss_response.stats import Fall

#: How far an output is moved, in its own size.
_FAR = (10.0, 100.0, 1000.0)
#: Fall of the loss over that at a tenth of the way: 100 for a square, 10 for a score that is averaged or a likelihood.
_FASTER = 50.0
#: The same fall where it is at least in proportion. No calibration: a straight line has 10, a loss that levels out goes to 1.
_IN_PROPORTION = 5.0
#: Further directions that have to agree.
_DIRECTIONS = 3


def fall(caller: LossCaller, leaves: Iterable[int], samples: int) -> Fall | None:
    """How the loss falls where one of these outputs is moved far away, in a direction and in its opposite.

    None where it has a lowest value, or falls no faster than in proportion in one direction (critics, likelihoods), and where one
    signed number for each sample may be its weight (an advantage): what is made less likely falls without end.
    """
    if any(one.is_floating_point() and one.numel() == samples and bool((one < 0).any()) for one in caller.targets):
        return None
    for place in leaves:
        output = caller.leaves[place].detach()
        if not output.is_floating_point() or not output.numel() or not bool(output.isfinite().all()):
            continue
        size = max(float(output.abs().mean()), 1e-2)
        try:
            start = caller.value(caller.leaves)
            ways = list(_drops(caller, place, size * _noise(output, 2), start))
            if all(_is_fall(drops, _FASTER) for drops in ways):
                return Fall(place, start, start - min(drops[1] for drops in ways), _FAR[1])
            if all(map(_falls_on, ways)) and _is_hill(caller, place, size, start):
                return Fall(place, start, start - min(drops[1] for drops in ways), _FAR[1], faster=False)
        except Refused:
            continue
    return None


def _noise(output: torch.Tensor, seed: int) -> torch.Tensor:
    return torch.randn(output.shape, generator=torch.Generator().manual_seed(seed)).to(output)


def _drops(caller: LossCaller, place: int, step: torch.Tensor, start: float) -> Iterator[list[float]]:
    """How far the loss falls at each distance, along a step and against it."""
    output = caller.leaves[place].detach()
    for way in (1.0, -1.0):
        yield [start - _value(caller, place, output + way * far * step) for far in _FAR]


def _is_hill(caller: LossCaller, place: int, size: float, start: float) -> bool:
    """Whether the loss falls on every side: along other random directions too, and rises where all outputs move alike in neither.

    A score that is to be small (that of a generator that is to be caught) falls along random directions, and rises along one of those.
    """
    output = caller.leaves[place].detach()
    for seed in range(3, 3 + _DIRECTIONS):
        if not all(map(_falls_on, _drops(caller, place, size * _noise(output, seed), start))):
            return False
    level = 1e-3 * max(abs(start), 1.0)
    alike = _drops(caller, place, size * torch.ones_like(output), start)
    return all(drop >= -level for drops in alike for drop in drops)


def _value(caller: LossCaller, place: int, output: torch.Tensor) -> float:
    """The loss, which an exponential may have made minus infinity."""
    with torch.no_grad():
        made = float(caller.tensor(caller.with_leaf(place, output)).double().mean())
    if math.isnan(made):
        raise Refused("the loss is not a number")
    return made


def _is_fall(drops: list[float], times: float) -> bool:
    return 0 < drops[0] < math.inf and all(far > times * near or near == math.inf for near, far in pairwise(drops))


def _falls_on(drops: list[float]) -> bool:
    """Whether it goes on falling far away; near by, an objective with its sign turned may rise first."""
    return _is_fall(drops[1:], _IN_PROPORTION)
