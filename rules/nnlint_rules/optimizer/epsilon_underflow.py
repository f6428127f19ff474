"""OPT008: an eps that is zero in the dtype of the parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, rule

if TYPE_CHECKING:
    from nnlint import Optimizer, StepStats, Trial, Trials

#: Smallest positive numbers (subnormal); bfloat16 has the exponents of float32 with fewer digits.
_SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 2.0**-1074}
_USUAL = 1e-6  # no eps up to here is a mistake: where it is too large, the gradients are too small


class Epsilon(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#trials."""

    ratio: float = Field(1.0, description="eps over the gradients (root mean square, median over the weight tensors)")
    reduction: float = Field(
        0.75, description="reduction of the loss over that of the same updates with a small eps: below it eps is reported"
    )


@rule("OPT008", "epsilon-underflow", level="warning", since="0.1")
def check(optimizer: Optimizer, steps: StepStats | None, trials: Trials | None, options: Epsilon) -> Iterator[Finding]:
    """The optimizer's eps rounds to zero in the dtype of the parameters, or is far larger than their gradients.

    ## What it does
    Compares eps with the smallest positive number of each parameter's dtype: Adam's default of 1e-8 is zero in float16, whose
    smallest number is 6e-8: an error where the loss becomes NaN in the first updates. And compares it with the gradients: where eps is
    as large as they are (root mean square, median over the weight tensors) the same updates are tried with a small eps. Reported
    where eps takes a quarter of the reduction of the loss: Adam then is plain descent with a tiny rate.

    ## Why is this bad?
    The update divides by the root of the second moment plus eps. Where a gradient has been zero (or has underflowed) so far,
    that is 0 / 0: the weight becomes NaN at the first step.

    ## Example
        optimizer = torch.optim.Adam(model.half().parameters(), lr=1e-3)

    ## Use instead
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)      # float32 weights, torch.autocast for the forward
        optimizer = torch.optim.Adam(model.half().parameters(), lr=1e-3, eps=1e-4)

    ## References
    - PyTorch: `torch.optim.Adam` (eps); `torch.finfo`
    - PyTorch: Automatic mixed precision (parameters stay in float32)
    """
    if steps is not None and trials is not None and trials.small_epsilon is not None:
        yield from _too_large(optimizer, steps, trials.small_epsilon, options)
    for group in optimizer.groups:
        if group.eps is None:
            continue
        dtypes = sorted({tensor.dtype for tensor in group.tensors})
        lost = [dtype for dtype in dtypes if dtype in _SMALLEST and group.eps < _SMALLEST[dtype] / 2]
        if not lost:
            continue
        limits = ", ".join(f"{_SMALLEST[dtype]:.1g} in {dtype}" for dtype in lost)
        yield Finding(
            at=optimizer,
            level=Level.ERROR if steps is not None and steps.non_finite_step is not None else None,
            message=f"eps={group.eps:g} of {optimizer.label} rounds to zero (smallest positive number: {limits}): a gradient of "
            "zero gives 0 / 0",
            evidence={"eps": group.eps, "dtypes": list(lost), "group": group.index},
            fix="keep the parameters in float32 and use torch.autocast, or set eps=1e-4 for float16",
        )


def _too_large(optimizer: Optimizer, steps: StepStats, trial: Trial, options: Epsilon) -> Iterator[Finding]:
    """An eps that drowns the root of the second moment in every update."""
    largest = max((group.eps or 0.0 for group in optimizer.groups), default=0.0)
    size = steps.gradient_size or 0.0
    is_usual = largest <= _USUAL
    if size <= 0.0 or largest < options.ratio * (steps.largest_gradient_size if is_usual else size):
        return  # a usual eps, and layers that get gradients of the usual size: those that do not are another rule's
    if trial.share is None or trial.share >= options.reduction:
        return
    yield Finding(
        at=optimizer,
        message=f"eps={largest:g} of {optimizer.label} is {largest / size:.3g} times the gradients (root mean square {size:.2g}) and makes "
        f"the updates as many times smaller: in {len(trial.changed) - 1} updates the loss falls from {trial.changed[0]:.3g} to "
        f"{trial.configured[-1]:.3g}, with a small eps to {trial.changed[-1]:.3g}",
        evidence={
            "eps": largest,
            "gradient": size,
            "limit": options.ratio,
            "reduction": trial.share if math.isfinite(trial.share) else None,
            "reduction_limit": options.reduction,
        },
        fix="the gradients are tiny: remove the factor that makes the loss so small (a division too many), or set eps=1e-15"
        if is_usual
        else "leave the default eps=1e-8",
    )
