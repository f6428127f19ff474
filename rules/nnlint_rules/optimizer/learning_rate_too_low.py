"""OPT004: updates too small to change anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, rule

if TYPE_CHECKING:
    from nnlint.probes.deep_stats import LearningRateRange
    from nnlint.probes.step_stats import StepStats


class LearningRateTooLow(Options):
    """Thresholds; calibration: docs/calibration.md#steps and #learning-rate-range."""

    ratio: float = Field(1e-6, description="norm of an update over that of the weights, largest over the tensors")
    margin: float = Field(10.0, description="with --deep: how far below the start of the fall the configured rate may be")
    far: float = Field(100.0, description="with --deep: from here on a warning, before an info")


@rule("OPT004", "learning-rate-too-low", level="warning", since="0.1")
def check(steps: StepStats, rates: LearningRateRange | None, options: LearningRateTooLow) -> Iterator[Finding]:
    """A learning rate at which the weights practically stay where they are.

    ## What it does
    Compares the size of real updates with the size of the weights they change: no tensor changes by more than a millionth of
    its norm in one update. With `--deep`, the learning-rate range test says where the loss starts to move; a configured rate
    more than 10 times below that is an info, more than 100 times a warning: a sweep of a hundred steps sees only what a hundred
    steps can move. Silent where the scheduler is about to raise the rate (a warm-up), and where there is no gradient at all.

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
    if steps.is_warming_up or not steps.learning_rate:
        return
    largest = max(steps.update_ratios, default=0.0)
    if 0.0 < largest < options.ratio:
        yield Finding(
            at=None,
            message=f"{steps.optimizer} with lr {steps.learning_rate:g} changes no weight tensor by more than {largest:.1e} of its norm in "
            f"one update (limit {options.ratio:g})",
            evidence={"update_ratio": largest, "limit": options.ratio, "lr": steps.learning_rate, "updates": steps.steps},
            fix="raise the learning rate: Adam 1e-4 to 1e-3, SGD 1e-3 to 1e-1 are usual; `nnlint lr TARGET` measures the interval",
        )
    elif rates is not None and rates.starts is not None and rates.configured is not None:
        below = rates.starts / rates.configured
        if below > options.margin:
            yield Finding(
                at=None,
                level=None if below > options.far else Level.INFO,
                message=f"the configured lr {rates.configured:g} is {below:.0f} times below {rates.starts:.1e}, where the loss starts to "
                f"move with {rates.optimizer} (limit {options.margin:g})",
                evidence={"lr": rates.configured, "starts": rates.starts, "limit": options.margin, "suggestion": rates.suggestion},
                fix="raise the learning rate"
                + (f" to about {rates.suggestion:.1e}" if rates.suggestion is not None else ""),
            )
