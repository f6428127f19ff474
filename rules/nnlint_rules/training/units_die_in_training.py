"""TRN004: the first updates switch units off for good."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, rule
from nnlint_rules._shared.words import counted

if TYPE_CHECKING:
    from nnlint import StepStats, Trials


class UnitsDie(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#steps."""

    growth: float = Field(0.3, description="share of a layer's units that die during the steps")
    min_samples: int = Field(32, description="with fewer samples a unit is off by accident too often: reported as info")
    min_units: int = Field(8, description="smaller layers are not judged")
    nearly_all: float = Field(0.9, description="share of dead units that is reported whatever the loss does")
    better: float = Field(0.9, description="share of the reduction of the loss at a tenth of the rate that is reached; below it hurts")


@rule("TRN004", "units-die-in-training", level="warning", since="0.1")
def check(steps: StepStats, trials: Trials | None, options: UnitsDie) -> Iterator[Finding]:
    """Rectified units that are alive at first and zero for the whole batch a few updates later.

    ## What it does
    Counts, for each ReLU-like layer, the units that no sample of the batch activates, before and after a few real updates with
    the given optimizer. Reported is a layer in which more than 30 % of the units die, where the same updates with a tenth of the
    learning rate reduce the loss more or nine units in ten are dead. Else units die in a training that goes well: an info.

    ## Why is this bad?
    A unit that is zero for all data has no gradient and does not come back. When the first few updates kill a third of a layer
    the rest will follow: the learning rate is too high for the scale of inputs and biases.

    ## Example
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)

    ## Use instead
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)    # or a warm-up, or LeakyReLU

    ## References
    - Maas, Hannun and Ng: Rectifier Nonlinearities Improve Neural Network Acoustic Models, 2013
    - CS231n, Neural Networks Part 1: the "dying ReLU" problem
    """
    steps.require_own_optimizer()
    share = trials.lower_rate.share if trials is not None and trials.lower_rate is not None else None
    for layer in steps.dead:
        if layer.units < options.min_units or layer.growth <= options.growth:
            continue
        # Adam's first step moves every weight by the whole rate: two updates of a large model are weak evidence.
        few = steps.samples < options.min_samples or steps.steps < 3
        slower = share is not None and share < options.better
        hurts = slower or layer.after >= options.nearly_all * layer.units
        yield Finding(
            at=layer,
            level=Level.INFO if few or not hurts else None,
            message=f"{layer.after - layer.before} of {layer.units} units of {layer.label} die in {counted(steps.steps, 'update')}: "
            f"{layer.before} are zero for all {steps.samples} samples before, {layer.after} after (limit {options.growth:.0%})"
            + (f"; a tenth of the learning rate reduces the loss {_times(share)} on the same batch" if slower else ""),
            evidence={
                "units": layer.units,
                "dead_before": layer.before,
                "dead_after": layer.after,
                "growth": layer.growth,
                "limit": options.growth,
                "samples": steps.samples,
                "updates": steps.steps,
                "reduction_share": share if share is not None and math.isfinite(share) else None,
            },
            fix="lower the learning rate or warm it up, centre the inputs of the layer, or use LeakyReLU",
        )


def _times(share: float | None) -> str:
    return f"{1 / share:.1f} times as much" if share is not None and share > 0.0 else "where the configured one raises it"
