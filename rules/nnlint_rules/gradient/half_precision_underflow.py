"""GRD006: gradients too small for fp16, and no scaler."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, rule

if TYPE_CHECKING:
    from nnlint import BackwardStats, Declared

_SMALLEST = 2.0**-24  # the smallest subnormal number of fp16


class HalfPrecisionUnderflow(Options):
    """No calibration: what fp16 rounds to zero is known, and the share says "most of them"."""

    share: float = Field(0.5, description="share of the gradients that fp16 rounds to zero")


@rule("GRD006", "half-precision-underflow", level="info", since="0.1")
def check(backward: BackwardStats, declared: Declared, options: HalfPrecisionUnderflow) -> Iterator[Finding]:
    """Most gradients are below the smallest fp16 number, and no gradient scaler is used.

    ## What it does
    Where the setup says `precision="fp16"` and no `grad_scaler`, compares the gradients of the activations, by their root mean
    square, with 6e-8, the smallest number of fp16.

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
    layers = [layer for layer in backward.layers if layer.norm > 0.0 and not layer.op.in_loss]
    lost = [layer for layer in layers if layer.rms < _SMALLEST]
    share = sum(layer.numel for layer in lost) / max(sum(layer.numel for layer in layers), 1)
    if share <= options.share:
        return
    smallest = min(lost, key=lambda layer: layer.rms)
    yield Finding(
        at=None,
        message=f"{share:.0%} of the gradients of activations are below {_SMALLEST:.0e}, the smallest number of fp16 (limit "
        f"{options.share:.0%}; smallest: {smallest.rms:.0e} at {smallest.op.label}), and no gradient scaler is used",
        evidence={"share": share, "limit": options.share, "smallest_of_fp16": _SMALLEST, "smallest_rms": smallest.rms},
        fix="use torch.amp.GradScaler, or bfloat16; say grad_scaler=True in the setup where it is used already",
        modules=tuple(dict.fromkeys(layer.module_path for layer in lost if layer.module_path)),
    )
