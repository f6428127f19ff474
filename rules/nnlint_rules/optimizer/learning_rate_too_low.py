"""OPT004: updates too small to change anything."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, rule

if TYPE_CHECKING:
    from nnlint import LearningRateRange, StepStats


class LearningRateTooLow(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#steps and #learning-rate-range."""

    ratio: float = Field(1e-6, description="norm of an update over that of the weights, largest over the tensors")
    margin: float = Field(
        10.0, description="with --deep: how far below the start of the fall the configured rate may be"
    )
    steps: float = Field(
        1e3, description="with --deep: steps until the loss would start to move, from which on it is an info"
    )
    many_steps: float = Field(1e4, description="with --deep: from here on a warning")


@rule("OPT004", "learning-rate-too-low", level="warning", since="0.1")
def check(steps: StepStats, rates: LearningRateRange | None, options: LearningRateTooLow) -> Iterator[Finding]:
    """A learning rate at which the weights practically stay where they are.

    ## What it does
    Compares the size of real updates with the size of the weights they change: no tensor changes by more than a millionth of
    its norm in one update. With `--deep`, the learning-rate range test says where the loss starts to move, and so how many steps
    it would take at the configured rate: more than 10 000 are a warning, more than 1000 an info, where that rate is also more
    than 10 times below the start. Silent where the scheduler is about to raise the rate (a warm-up), where there is no gradient
    at all, and, for the size of updates, where a layer that starts at zero has only begun to let gradients through.

    ## Why is this bad?
    A million updates would be needed to change the weights by their own size. The loss curve looks flat and healthy.

    ## Example
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-9)

    ## Use instead
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    ## References
    - CS231n, Neural Networks Part 3: ratio of weights to updates
    """
    steps.require_own_optimizer()
    if steps.is_warming_up or not steps.learning_rate or steps.non_finite_step is not None:
        return
    largest = steps.largest_update_ratio
    if not _wakes_up(steps) and largest < options.ratio and (largest > 0.0 or _is_lost_in_rounding(steps)):
        yield Finding(
            at=steps,
            message=f"{steps.optimizer} with lr {steps.learning_rate:g} changes no weight tensor by more than {largest:.1e} of its norm in "
            f"one update (limit {options.ratio:g})",
            evidence={
                "update_ratio": largest,
                "limit": options.ratio,
                "lr": steps.learning_rate,
                "updates": steps.steps,
            },
            fix="raise the learning rate: Adam 1e-4 to 1e-3, SGD 1e-3 to 1e-1 are usual; `nnlint lr TARGET` measures the interval",
        )
    elif rates is not None and rates.starts is not None and rates.configured is not None:
        found = _below_start(rates, rates.starts, rates.configured, options)
        yield from (replace(finding, at=steps) for finding in found)


def _is_lost_in_rounding(steps: StepStats) -> bool:
    """Whether updates change nothing at all though there are gradients: they are below the precision of the weights."""
    norms = [norm for item in steps.parameters if item.in_optimizer for norm in item.gradients if norm is not None]
    return bool(steps.update_ratios) and any(norms) and all(math.isfinite(norm) for norm in norms)


def _wakes_up(steps: StepStats) -> bool:
    """Whether weights that start at zero have moved: until then they let no gradient through to the layers before them."""
    return any(item.in_optimizer and item.dims > 1 and not item.weight_norm and item.moved for item in steps.parameters)


def _below_start(
    rates: LearningRateRange, starts: float, configured: float, options: LearningRateTooLow
) -> Iterator[Finding]:
    needed = rates.steps_to_move or 0.0
    if starts <= options.margin * configured or needed <= options.steps:
        return
    proposal = f" to about {rates.suggestion:.1e}" if rates.suggestion is not None else ""
    yield Finding(
        at=None,
        level=None if needed > options.many_steps else Level.INFO,
        message=f"the configured lr {configured:g} is {starts / configured:.0f} times below {starts:.1e}, where the loss starts to move "
        f"with {rates.optimizer}: it would take about {needed:.0f} steps (limit {options.steps:g})",
        evidence={
            "lr": configured,
            "starts": starts,
            "margin": options.margin,
            "steps": needed,
            "limit": options.steps,
            "suggestion": rates.suggestion,
        },
        fix=f"raise the learning rate{proposal}",
    )
