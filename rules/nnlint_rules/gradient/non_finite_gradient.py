"""GRD004: NaN or Inf in the gradients of a finite forward."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Place, rule
from nnlint_rules._shared.words import listed

if TYPE_CHECKING:
    from nnlint import BackwardStats, ForwardStats, NonFiniteGradient

_CAUSES = {
    "sqrt": "the slope of the root is infinite at 0: add an eps under the root",
    "norm": "the norm has no slope at the zero vector: add an eps inside, `(x.square().sum(-1) + 1e-8).sqrt()`",
    "std": "the standard deviation has no slope where all values are equal: add an eps to the variance under the root",
    "log": "the slope of the logarithm is infinite at 0: add an eps to its input; a `torch.where` after it does not help, since 0 times "
    "Inf is NaN: apply the where to the input",
    "pow": "the slope of this power is infinite at 0: add an eps to its base",
    "div": "the slope of the quotient overflows: keep the divisor away from 0 before dividing",
    "acos": "the slope is infinite at -1 and 1: clamp the input to (-1 + 1e-6, 1 - 1e-6)",
    "asin": "the slope is infinite at -1 and 1: clamp the input to (-1 + 1e-6, 1 - 1e-6)",
    "atan2": "atan2 has no slope at (0, 0): add an eps",
}
_NAMES = {
    "vector_norm": "norm",
    "rsqrt": "sqrt",
    "log2": "log",
    "log10": "log",
    "log1p": "log",
    "reciprocal": "div",
    "var": "std",
}
_OTHER = "keep the input of this op away from where its slope is not finite (clamp it, or add an eps)"


@rule("GRD004", "non-finite-gradient", level="error", since="0.1")
def check(backward: BackwardStats, forward: ForwardStats) -> Iterator[Finding]:
    """NaN or Inf appears in the backward pass although the loss is finite.

    ## What it does
    When a gradient is NaN or Inf and the loss is not, runs forward and backward again with a hook on every backward function
    and names the first one that made NaN or Inf out of finite gradients: the op, its source line and the range of its inputs.
    Where every parameter's gradient is finite all the same (a ReLU masks it), the finding is an info.

    ## Why is this bad?
    The first step makes the weights NaN, and the loss looked fine. The usual cause is a function whose slope is infinite at one
    point (root, norm, logarithm at 0), often before a `torch.where` that hides it from the forward.

    ## Example
        distance = (a - b).square().sum(-1).sqrt()            # a equals b

    ## Use instead
        distance = ((a - b).square().sum(-1) + 1e-12).sqrt()

    ## References
    - PyTorch: `torch.autograd.set_detect_anomaly`
    - PyTorch issue 4132: where with a non-finite gradient in the branch not taken
    """
    if backward.finite or (forward.loss is not None and not math.isfinite(forward.loss)) or not forward.outputs_finite:
        return
    names = [gradient.name for gradient in backward.parameters if not gradient.finite]
    culprit = backward.non_finite
    shown = listed(names, limit=3)
    harm = f"; the gradients of {shown} are not finite" if names else "; it is masked before it reaches a parameter"
    yield Finding(
        at=culprit.op if culprit is not None and culprit.op is not None else Place(),
        level=None if names else Level.INFO,
        message=f"{_origin(culprit)}, while the loss is finite{harm}",
        evidence={
            "backward_function": culprit.function if culprit is not None else None,
            "value": culprit.what if culprit is not None else None,
            "input_ranges": [[_number(low), _number(high)] for _, low, high in culprit.input_ranges]
            if culprit is not None
            else [],
            "parameters": list(names),
        },
        fix=_fix(culprit),
        modules=tuple(dict.fromkeys(name.rpartition(".")[0] for name in names)),
    )


def _origin(culprit: NonFiniteGradient | None) -> str:
    if culprit is None:
        return "the backward produces NaN or Inf"
    ranges = ", ".join(f"[{low:.3g}, {high:.3g}]" for _, low, high in culprit.input_ranges)
    name = culprit.op.label if culprit.op is not None else culprit.function
    return f"the backward of {name} ({culprit.function}) is the first to produce {culprit.what}" + (
        f"; its forward inputs lie in {ranges}" if ranges else ""
    )


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _fix(culprit: NonFiniteGradient | None) -> str:
    if culprit is None or culprit.op is None:
        return _OTHER
    name = culprit.op.name
    return _CAUSES.get(_NAMES.get(name, name), _OTHER)
