"""Reading the curve of a learning-rate sweep: where the loss starts to move, where it falls fastest, where it is lowest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_BETA = 0.7
_MOVED = 0.05  # of the whole fall, before the loss counts as moving
_LEAST_FALL = 0.05  # of the first loss; less is noise


def debiased(values: Sequence[float], beta: float = _BETA) -> list[float]:
    """Exponential running mean divided by its own weight, so that the first values are not pulled to zero."""
    mean, weight, smooth = 0.0, 0.0, []
    for value in values:
        mean = beta * mean + (1 - beta) * value
        weight = beta * weight + (1 - beta)
        smooth.append(mean / weight)
    return smooth


@dataclass(frozen=True)
class Curve:
    """What a sweep says."""

    smoothed: tuple[float, ...]
    starts: float | None
    steepest: float | None
    minimum: float | None


def read_curve(rates: Sequence[float], losses: Sequence[float]) -> Curve:
    """Read start, steepest point and minimum off a sweep.

    Args:
        rates: of the steps.
        losses: loss before the step with each rate; the last one may be no number.
    """
    smooth = debiased([loss for loss in losses if math.isfinite(loss)])
    if len(smooth) < 4:
        return Curve(tuple(smooth), None, None, None)
    beginning = max(len(smooth) // 10, 3)
    level = _median(smooth[:beginning])
    lowest = min(range(len(smooth)), key=lambda index: smooth[index])
    fall = level - smooth[lowest]
    if lowest < beginning or fall < _LEAST_FALL * abs(level):
        return Curve(tuple(smooth), None, None, None)
    starts = min(_last(lambda index: smooth[index] > level - _MOVED * fall, lowest) + 1, lowest)
    slopes = {index: smooth[index + 1] - smooth[index - 1] for index in range(max(starts, 1), lowest)}
    steepest = min(slopes, key=lambda index: slopes[index]) if slopes else lowest
    return Curve(tuple(smooth), rates[starts], rates[steepest], rates[lowest])


def _last(holds: Callable[[int], bool], end: int) -> int:
    """The last index up to `end` where something holds, -1 for none: what comes after it does not, so one dip of noise is no start."""
    return next((index for index in range(end, -1, -1) if holds(index)), -1)


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
