"""OPT003: updates as large as the weights, or a rate near the one at which training diverges."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, rule

if TYPE_CHECKING:
    from nnlint import LearningRateRange, StepStats, Trials


class LearningRateTooHigh(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#steps and #learning-rate-range."""

    ratio: float = Field(0.1, description="norm of an update over that of the weights, median over the tensors")
    fatal_ratio: float = Field(0.3, description="from here on an error")
    overwriting: float = Field(1.0, description="from here on reported even where the loss falls")
    min_samples: int = Field(8, description="with fewer samples a loss that ends lower than it began is an info")
    margin: float = Field(
        3.0, description="with --deep: how far below the rate that diverges the configured rate has to be"
    )


@rule("OPT003", "learning-rate-too-high", level="warning", since="0.1")
def check(
    steps: StepStats, rates: LearningRateRange | None, trials: Trials | None, options: LearningRateTooHigh
) -> Iterator[Finding]:
    """A learning rate at which the weights are overwritten rather than adjusted.

    ## What it does
    Compares the size of real updates with the size of the weights they change, over a few steps with the given optimizer. A
    median over the weight tensors above 0.1 is a warning where the loss also fails to fall smoothly: small nets with adaptive
    optimizers move fast at first and learn. Above 1, where each update replaces the weights, it is one unless the same updates at a
    tenth of the rate reduce the loss no more: weights that start near zero have to grow by more than their own size. Above 0.3 it
    is an error where the loss ends no lower than it began; up to there an info where the loss rose but is most of the way back,
    as momentum makes it at rates that nets train well with. On batches of fewer than 8 samples, whose gradients say little, a
    loss that ends lower than it began makes it an info up to 1. Vectors and tensors that start at zero (LayerScale, zero-initialized
    branches) are left out. With `--deep` the learning-rate range test adds short runs at other rates; a configured rate above a
    third of the lowest that diverges is a warning where the rate it proposes ends lower over the same steps, an info elsewhere.

    ## Why is this bad?
    Healthy updates are about a thousandth of the weights, a tenth at most in the first steps of Adam. Larger ones jump across
    what they should descend into: the loss rises, units die, weights become NaN.

    ## Example
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)

    ## Use instead
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)    # nnlint lr TARGET finds the interval

    ## References
    - CS231n, Neural Networks Part 3: ratio of weights to updates
    - Smith: Cyclical Learning Rates for Training Neural Networks, 2017, arXiv:1506.01186
    """
    steps.require_own_optimizer()
    ratio = steps.median_update_ratio
    overwritten = ratio is not None and ratio > options.overwriting and not _does_no_better(trials)
    if ratio is not None and ratio > options.ratio and (overwritten or not steps.is_falling):
        yield _large_updates(ratio, steps, rates, options)
    elif (
        rates is not None and rates.diverges is not None and (rates.configured or 0.0) > rates.diverges / options.margin
    ):
        yield replace(_near_divergence(rates, rates.configured or 0.0, rates.diverges, options), at=steps)


def _does_no_better(trials: Trials | None) -> bool:
    """Whether a tenth of the rate was tried and reduces the loss of the batch no more than the configured one."""
    lower = trials.lower_rate if trials is not None else None
    if lower is None or not all(map(math.isfinite, lower.configured)):
        return False
    return lower.configured[-1] <= lower.changed[-1] and lower.configured[-1] < lower.configured[0]


def _large_updates(
    ratio: float, steps: StepStats, rates: LearningRateRange | None, options: LearningRateTooHigh
) -> Finding:
    recovered = steps.non_finite_step is None and steps.losses[-1] < steps.losses[0]
    few = steps.samples < options.min_samples and ratio <= options.overwriting
    returning = (ratio <= options.fatal_ratio and (steps.is_coming_back or recovered)) or (recovered and few)
    if steps.non_finite_step is not None:
        outcome = f"the loss becomes NaN or infinite at update {steps.non_finite_step}"
    else:
        outcome = f"the loss goes from {steps.losses[0]:.4g} over {max(steps.losses):.4g} to {steps.losses[-1]:.4g}"
    proposal = (
        f"{rates.suggestion:.1e}" if rates is not None and rates.suggestion is not None else "a tenth of it or less"
    )
    return Finding(
        at=steps,
        level=Level.INFO if returning else Level.ERROR if ratio > options.fatal_ratio and not recovered else None,
        message=f"{steps.optimizer} with lr {_shown(steps.learning_rate)} changes the weights by {ratio:.2g} of their norm in one update "
        f"(median over {len(steps.update_ratios)} tensors; limit {options.ratio:g}), and {outcome}",
        evidence={
            "update_ratio": ratio,
            "limit": options.ratio,
            "updates": steps.steps,
            "losses": list(steps.losses),
            "lr": steps.learning_rate,
        },
        fix=f"lower the learning rate to {proposal}; where the targets or inputs are not of order one, scale them first",
    )


def _near_divergence(
    rates: LearningRateRange, configured: float, diverges: float, options: LearningRateTooHigh
) -> Finding:
    proposal = f"{rates.suggestion:.1e}" if rates.suggestion is not None else f"{diverges / 10.0:.1e}"
    return Finding(
        at=None,
        level=None if rates.lower_is_better else Level.INFO,
        message=f"the configured lr {configured:g} is above a third of {diverges:.2g}, where short runs with {rates.optimizer} diverge "
        f"(limit {diverges / options.margin:.2g})",
        evidence={
            "lr": configured,
            "diverges": diverges,
            "limit": diverges / options.margin,
            "suggestion": rates.suggestion,
            "tried": list(rates.lower or ()),
        },
        fix=f"lower the learning rate to about {proposal}, or warm it up",
    )


def _shown(rate: float | None) -> str:
    return f"{rate:g}" if rate is not None else "as given"
