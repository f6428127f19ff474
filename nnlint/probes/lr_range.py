"""The learning-rate range test: on a snapshot, from the user's optimizer and its parameter groups.

The rate grows geometrically over a fixed number of steps on the sample batch; the curve is smoothed with a short debiased running
mean (a long one without debiasing lags nearly two decades and moves the minimum to a rate that kills the net), cut at divergence,
and read as an interval, never as a single number. Source: L. N. Smith, "Cyclical Learning Rates", 2017 (arXiv:1506.01186).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from nnlint.finding import Skip
from nnlint.probes.deep_stats import LearningRateRange
from nnlint.probes.guard_process import seed_everything
from nnlint.probes.light_pass import forward_loss

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup

_LOWEST = 1e-7
_HIGHEST = 1.0
_HIGHEST_SGD = 10.0
_BETA = 0.7
_DIVERGED = 3.0
_MOVED = 0.02  # of the whole fall, before the loss counts as moving


def run_lr_range(
    setup: TrainingSetup, *, seed: int, steps: int, on_step: Callable[[], None] | None = None
) -> LearningRateRange:
    """Raise the rate step by step and watch the loss; the caller holds the state guard.

    Raises:
        Skip: there is no optimizer or no learning rate to change.
    """
    optimizer = setup.optimizer
    if optimizer is None:
        raise Skip("no optimizer given")
    base = [float(group["lr"]) for group in optimizer.param_groups if "lr" in group]
    if not base or base[0] <= 0:
        raise Skip("the optimizer has no positive learning rate to scale")
    setup.model.train()
    seed_everything(seed)
    # Closed-form rates for one group; the others keep their ratio to it.
    ratios = [rate / base[0] for rate in base]
    highest = _HIGHEST_SGD if type(optimizer).__name__ == "SGD" else _HIGHEST
    rates = [_LOWEST * (highest / _LOWEST) ** (index / (steps - 1)) for index in range(steps)]
    losses = _sweep(setup, optimizer, rates, ratios, on_step)
    return analyse(rates[: len(losses)], losses, configured=base[0], optimizer=type(optimizer).__name__)


def _sweep(
    setup: TrainingSetup,
    optimizer: torch.optim.Optimizer,
    rates: Sequence[float],
    ratios: Sequence[float],
    on_step: Callable[[], None] | None,
) -> list[float]:
    losses: list[float] = []
    for rate in rates:
        optimizer.zero_grad(set_to_none=True)
        loss = forward_loss(setup)
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]) or losses[-1] > _DIVERGED * max(min(losses), 1e-12) and len(losses) > 10:
            return losses
        loss.backward()
        for group, ratio in zip(optimizer.param_groups, ratios, strict=False):
            group["lr"] = rate * ratio
        optimizer.step()
        if on_step is not None:
            on_step()
    return losses


def debiased(values: Sequence[float], beta: float = _BETA) -> list[float]:
    """Exponential running mean divided by its own weight, so that the first values are not pulled to zero."""
    mean, weight, smooth = 0.0, 0.0, []
    for value in values:
        mean = beta * mean + (1 - beta) * value
        weight = beta * weight + (1 - beta)
        smooth.append(mean / weight)
    return smooth


def analyse(
    rates: Sequence[float], losses: Sequence[float], *, configured: float | None, optimizer: str
) -> LearningRateRange:
    """Read interval, suggestion and divergence off a curve.

    Args:
        rates, losses: loss before the update with each rate; the last loss may be non-finite.
    """
    finite = [loss for loss in losses if math.isfinite(loss)]
    smooth = debiased(finite)
    diverges = _divergence(rates, losses, smooth)
    cut = [index for index in range(len(smooth)) if diverges is None or rates[index] < diverges]
    lowest = min(cut, key=lambda index: smooth[index]) if cut else None
    start_level = _median(finite[: max(len(finite) // 10, 3)])
    starts = steepest = None
    if lowest is not None and smooth[lowest] < start_level - 0.05 * abs(start_level):
        fall = start_level - smooth[lowest]
        starts = next(
            (
                rates[index]
                for index in range(lowest + 1)
                if _stays_below(smooth, index, lowest, start_level - _MOVED * fall)
            ),
            None,
        )
        slopes = {index: smooth[index + 1] - smooth[index - 1] for index in range(1, lowest)}
        steepest = rates[min(slopes, key=lambda index: slopes[index])] if slopes else starts
    minimum = rates[lowest] if lowest is not None and starts is not None else None
    suggestion = None
    if starts is not None and minimum is not None and steepest is not None:
        suggestion = (
            math.exp((math.log(max(starts, minimum / 100)) + math.log(minimum / 10)) / 2)
            if minimum / 10 > starts
            else min(steepest, minimum / 3)
        )
    return LearningRateRange(
        rates=tuple(rates),
        losses=tuple(losses),
        smoothed=tuple(smooth),
        starts=starts,
        steepest=steepest,
        minimum=minimum,
        diverges=diverges,
        suggestion=suggestion,
        configured=configured,
        optimizer=optimizer,
    )


def _stays_below(smooth: Sequence[float], index: int, last: int, level: float) -> bool:
    """Whether the curve is below `level` from here to the minimum: a single dip of noise does not count."""
    return all(value <= level for value in smooth[index : last + 1])


def _divergence(rates: Sequence[float], losses: Sequence[float], smooth: Sequence[float]) -> float | None:
    start = _median([loss for loss in losses if math.isfinite(loss)][: max(len(losses) // 10, 3)])
    best = math.inf
    for index, loss in enumerate(losses):
        if not math.isfinite(loss):
            return rates[index]
        best = min(best, smooth[index])
        # Past the start level again after a fall, or far above it: the net no longer learns at this rate.
        if smooth[index] > 1.5 * abs(start) or (best < 0.8 * start and smooth[index] > start):
            return rates[index]
    return None


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else math.nan
