"""GRD006: gradients too small for fp16, and no scaler."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, rule

if TYPE_CHECKING:
    from nnlint import BackwardStats, Declared
    from nnlint.probes.deep_stats import PrecisionStats

_SMALLEST = 2.0**-24  # the smallest subnormal number of fp16


class HalfPrecisionUnderflow(Options):
    """Thresholds."""

    share: float = Field(0.5, description="share of the gradients that fp16 rounds to zero")


@rule("GRD006", "half-precision-underflow", level="info", since="0.1")
def check(
    backward: BackwardStats, declared: Declared, precision: PrecisionStats | None, options: HalfPrecisionUnderflow
) -> Iterator[Finding]:
    """Most gradients are below the smallest fp16 number, and no gradient scaler is used.

    ## What it does
    Where the setup says `precision="fp16"` and no `grad_scaler`, compares the size of the gradients of the activations and
    parameters with 6e-8, the smallest number of fp16. With `--deep` single entries are counted, else tensors by their root mean
    square.

    ## Why is this bad?
    What is smaller becomes exactly zero, and what it should have moved stays where it is. Scaling the loss before backward, and
    the gradients back after it, keeps them in range; bfloat16 has the range of float32 and needs none.

    ## Example
        with torch.autocast("cuda", dtype=torch.float16):
            loss = criterion(model(x), y)
        loss.backward()

    ## Use instead
        scaler = torch.amp.GradScaler()
        scaler.scale(loss).backward()
        scaler.step(optimizer); scaler.update()

    ## References
    - Micikevicius et al.: Mixed Precision Training, 2018, arXiv:1710.03740
    - PyTorch: `torch.amp.GradScaler`
    """
    if declared.precision != "fp16" or declared.grad_scaler:
        return
    backward.require_loss()
    share, counted = _lost(backward, precision)
    if share <= options.share:
        return
    yield Finding(
        at=None,
        message=f"{share:.0%} of the gradient {counted} are below {_SMALLEST:.0e}, the smallest number of fp16 (limit {options.share:.0%}), "
        "and no gradient scaler is used",
        evidence={"share": share, "limit": options.share, "smallest": _SMALLEST, "counted": counted},
        fix="use torch.amp.GradScaler, or bfloat16; say grad_scaler=True in the setup where it is used already",
    )


def _lost(backward: BackwardStats, precision: PrecisionStats | None) -> tuple[float, str]:
    """The share that is lost, and of what it is the share."""
    if precision is not None and precision.gradient_underflow is not None:
        return precision.gradient_underflow, "entries"
    sizes = [layer.rms for layer in backward.layers if layer.norm > 0.0]
    sizes += [item.norm / item.numel**0.5 for item in backward.parameters if item.norm]
    return sum(size < _SMALLEST for size in sizes) / max(len(sizes), 1), "tensors"
