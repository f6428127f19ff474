"""GRD007: a custom autograd.Function whose backward is not the derivative of its forward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule

if TYPE_CHECKING:
    from nnlint import GradientCheck


@rule("GRD007", "wrong-custom-gradient", level="error", since="0.1")
def check(gradients: GradientCheck) -> Iterator[Finding]:
    """The backward of a custom autograd.Function does not fit its forward.

    ## What it does
    Catches every custom `torch.autograd.Function` that the forward calls, with its arguments, and compares its backward with
    finite differences of its forward in float64 (`torch.autograd.gradcheck`). Left out are functions that differ from the
    derivative on purpose: an identity forward (reversed, scaled or clipped gradients) and a piecewise constant one
    (straight-through estimates of rounding), and functions that cannot run in float64.

    ## Why is this bad?
    A wrong factor or sign trains slowly or in the wrong direction, without any error.

    ## Example
        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return grad * x                      # of x ** 2: the factor 2 is missing

    ## Use instead
            return grad * 2 * x

    ## References
    - PyTorch: `torch.autograd.gradcheck`, Gradcheck mechanics
    """
    for checked in gradients.functions:
        if checked.passed is False:
            yield Finding(
                at=checked,
                message=f"the backward of {checked.function} is not the derivative of its forward: {checked.detail}",
                evidence={"function": checked.function, "gradcheck": checked.detail},
                fix=f"derive the backward of {checked.function} anew and keep torch.autograd.gradcheck on it as a test",
            )
