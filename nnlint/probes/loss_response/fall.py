"""Whether a loss has no lowest value: it falls ever faster the larger an output grows.

Calibration of the limits: docs/evidence/calibration.md#code-limits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

import torch

from nnlint.probes.loss_response.caller import LossCaller, Refused
from nnlint.probes.loss_response.stats import Fall

#: How far an output is moved, in its own size.
_FAR = (10.0, 100.0, 1000.0)
#: Fall of the loss over that at a tenth of the way: 100 for a square, 10 for a score that is averaged or a likelihood.
_FASTER = 50.0


def fall(caller: LossCaller, leaves: Iterable[int], samples: int) -> Fall | None:
    """How the loss falls where one of these outputs is moved far away, in a direction and in its opposite.

    None where it has a lowest value, or falls no faster than in proportion (critics, likelihoods), and where one signed number
    for each sample may be its weight (an advantage): what is made less likely falls without end.
    """
    if any(one.is_floating_point() and one.numel() == samples and bool((one < 0).any()) for one in caller.targets):
        return None
    for place in leaves:
        output = caller.leaves[place].detach()
        if not output.is_floating_point() or not output.numel() or not bool(output.isfinite().all()):
            continue
        noise = torch.randn(output.shape, generator=torch.Generator().manual_seed(2)).to(output)
        step = noise * max(float(output.abs().mean()), 1e-2)
        try:
            ways = [[_value(caller, place, output + way * far * step) for far in _FAR] for way in (1.0, -1.0)]
            start = caller.value(caller.leaves)
        except Refused:
            continue
        if all(_is_fall([start - value for value in values]) for values in ways):
            return Fall(place, start, max(values[1] for values in ways), _FAR[1])
    return None


def _value(caller: LossCaller, place: int, output: torch.Tensor) -> float:
    """The loss, which an exponential may have made minus infinity."""
    with torch.no_grad():
        made = float(caller.tensor(caller.with_leaf(place, output)).double().mean())
    if math.isnan(made):
        raise Refused("the loss is not a number")
    return made


def _is_fall(drops: list[float]) -> bool:
    return 0 < drops[0] < math.inf and all(far > _FASTER * near or near == math.inf for near, far in pairwise(drops))
