"""INI005: NaN or Inf in a parameter or buffer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint_rules._shared.words import listed, paths

if TYPE_CHECKING:
    from nnlint import Parameters, ParameterView

_STATISTICS = ("running_mean", "running_var")


@rule("INI005", "non-finite-parameters", level="error", since="0.1")
def check(parameters: Parameters) -> Iterator[Finding]:
    """NaN or Inf in a parameter or a buffer of the model.

    ## What it does
    Looks at every value of every parameter, and at every floating-point buffer. In a buffer Inf alone is accepted
    (attention masks), except in the running statistics of a norm.

    ## Why is this bad?
    Whatever is computed from it is NaN, and after one step every parameter is. It comes from a checkpoint of a run
    that diverged, from uninitialized memory (`torch.empty`), or from a division by zero in the initialization.

    ## Example
        self.scale = nn.Parameter(torch.empty(64))

    ## Use instead
        self.scale = nn.Parameter(torch.ones(64))

    ## References
    - PyTorch: `torch.empty` returns uninitialized data
    """
    broken = [view for view in parameters if not view.finite] + [
        view for view in parameters.buffers if _is_broken(view)
    ]
    if not broken:
        return
    first = broken[0]
    yield Finding(
        at=first,
        message=f"{first.non_finite} of {first.numel} values of {first.name} are NaN or Inf"
        + (f"; also in {listed(view.name for view in broken[1:])}" if len(broken) > 1 else ""),
        evidence={view.name: view.non_finite for view in broken[:20]},
        fix="initialize it, or load a checkpoint from before the run diverged",
        modules=paths(broken),
    )


def _is_broken(buffer: ParameterView) -> bool:
    if buffer.finite:
        return False
    return math.isnan(buffer.moments.low) or math.isnan(buffer.moments.high) or buffer.leaf in _STATISTICS
