"""OPT008: an eps that is zero in the dtype of the parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule

if TYPE_CHECKING:
    from nnlint import Optimizer, StepStats

#: Smallest positive numbers (subnormal); bfloat16 has the exponents of float32 with fewer digits.
_SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 2.0**-1074}
#: Times the gradient: below it the update still is of the size that the rate says.
_LARGEST = 10.0
_USUAL = 1e-6  # no eps up to here is a mistake


@rule("OPT008", "epsilon-underflow", level="warning", since="0.1")
def check(optimizer: Optimizer, steps: StepStats | None) -> Iterator[Finding]:
    """The optimizer's eps rounds to zero in the dtype of the parameters, or is far larger than their gradients.

    ## What it does
    Compares eps with the smallest positive number of each parameter's dtype: Adam's default of 1e-8 is zero in float16, whose
    smallest number is 6e-8: an error where the loss becomes NaN in the first updates. And compares it with the gradients: an eps
    of 10 times their size (root mean square, median over the weight tensors) makes plain descent with a tiny rate of Adam.

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
    yield from _too_large(optimizer, steps)
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


def _too_large(optimizer: Optimizer, steps: StepStats | None) -> Iterator[Finding]:
    """An eps that drowns the root of the second moment in every update."""
    largest = max((group.eps or 0.0 for group in optimizer.groups), default=0.0)
    if steps is None or steps.surrogate or not optimizer.class_name.startswith(("Adam", "NAdam", "RAdam", "RMSprop")):
        return
    sizes = [
        max(norms) / math.sqrt(item.numel)
        for item in steps.parameters
        if item.dims > 1 and (norms := [norm for norm in item.gradients if norm and math.isfinite(norm)])
    ]
    size = median(sizes) if sizes else 0.0
    if size <= 0.0 or largest <= max(_LARGEST * size, _USUAL):
        return
    yield Finding(
        at=optimizer,
        message=f"eps={largest:g} of {optimizer.label} is {largest / size:.3g} times the gradients (root mean square {size:.2g}; limit "
        f"{_LARGEST:g} times): the updates are as many times smaller than the learning rate says",
        evidence={"eps": largest, "gradient": size, "limit": _LARGEST},
        fix="leave the default eps=1e-8",
    )
