"""SIG008: activations that do not fit into half precision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, rule

if TYPE_CHECKING:
    from nnlint import Declared, ForwardStats, LayerPrecision, PrecisionStats

_LARGEST = 65504.0  # of fp16


class HalfPrecisionOverflow(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#precision."""

    deviations: float = Field(4.0, description="standard deviations from the mean that large layers certainly reach")
    relative_error: float = Field(0.5, description="with --deep: error of a layer's output against float32")


@rule("SIG008", "half-precision-overflow", level="warning", since="0.1", explains=["SIG003"])
def check(
    forward: ForwardStats, declared: Declared, precision: PrecisionStats | None, options: HalfPrecisionOverflow
) -> Iterator[Finding]:
    """Activations beyond the range of fp16, or lost in it, in a setup that trains in half precision.

    ## What it does
    Where the setup says `precision="fp16"`, reports the first layer whose values reach 65504, the largest number of fp16. With
    `--deep` the forward is run once under autocast, in fp16 or bf16, and the first layer is reported that becomes infinite
    there or differs from float32 by more than half of its norm.

    ## Why is this bad?
    Beyond 65504 fp16 is infinite, and the next subtraction or softmax makes NaN of it. bfloat16 has the range of float32 but
    three significant digits: differences of large numbers are lost in it.

    ## Example
        scores = q @ k.transpose(-2, -1)         # unscaled, with long vectors, in fp16

    ## Use instead
        scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1)

    ## References
    - Micikevicius et al.: Mixed Precision Training, 2018, arXiv:1710.03740
    - PyTorch: Automatic Mixed Precision, ops that autocast to float32
    """
    if declared.precision is None:
        return
    if precision is not None:
        yield from _measured(precision, options)
    elif declared.precision == "fp16":
        yield from _estimated(forward, options)


def _measured(precision: PrecisionStats, options: HalfPrecisionOverflow) -> Iterator[Finding]:
    broken = next(iter(precision.overflowing), None)
    if broken is not None:
        what = f"overflows under {precision.precision} (largest value in float32: {broken.abs_max:.3g})"
        yield _finding(broken, what, precision.precision)
        return
    lossy = next((layer for layer in precision.layers if layer.relative_error > options.relative_error), None)
    if lossy is not None:
        wrong = f"differs from float32 by {lossy.relative_error:.0%} of its norm (limit {options.relative_error:.0%})"
        yield _finding(lossy, f"{wrong} under {precision.precision}", precision.precision)


def _finding(layer: LayerPrecision, what: str, precision: str) -> Finding:
    return Finding(
        at=layer,
        message=f"{layer.label} {what}",
        evidence={
            "abs_max": layer.abs_max,
            "relative_error": layer.relative_error,
            "precision": precision,
            "largest": _LARGEST,
        },
        fix="scale the values down before the layer, or run it in float32: torch.autocast(..., enabled=False) around it"
        + (", or use bfloat16" if precision == "fp16" else ""),
    )


def _estimated(forward: ForwardStats, options: HalfPrecisionOverflow) -> Iterator[Finding]:
    for layer in forward.layers:
        reached = max(abs(layer.mean) + options.deviations * layer.std, layer.rms)
        if layer.finite and reached > _LARGEST:
            yield Finding(
                at=layer,
                message=f"{layer.label} reaches {reached:.3g} (mean {layer.mean:.3g}, std {layer.std:.3g}); the largest number of fp16 is "
                f"{_LARGEST:g}",
                evidence={
                    "reached": reached,
                    "limit": _LARGEST,
                    "mean": layer.mean,
                    "std": layer.std,
                    "precision": "fp16",
                },
                fix="scale the values down before the layer, run it in float32 (torch.autocast(..., enabled=False)), or use bfloat16",
            )
            return
