"""OPT008: an eps that is zero in the dtype of the parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import Optimizer

#: Smallest positive numbers (subnormal); bfloat16 has the exponents of float32 with fewer digits.
_SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 2.0**-1074}


@rule("OPT008", "epsilon-underflow", level="warning", since="0.1", explains=["GRD004", "TRN001", "TRN002"])
def check(optimizer: Optimizer) -> Iterator[Finding]:
    """The optimizer's eps is zero, or rounds to zero in the dtype of the parameters.

    ## What it does
    Compares eps with the smallest positive number of each parameter's dtype: Adam's default of 1e-8 is zero in float16, whose
    smallest number is 6e-8.

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
            message=f"eps={group.eps:g} of {optimizer.label} rounds to zero (smallest positive number: {limits}): a gradient of "
            "zero gives 0 / 0",
            evidence={"eps": group.eps, "dtypes": list(lost), "group": group.index},
            fix="keep the parameters in float32 and use torch.autocast, or set eps=1e-4 for float16",
        )
