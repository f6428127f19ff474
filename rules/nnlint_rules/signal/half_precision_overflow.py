"""SIG008: operations that do not fit into half precision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, rule

if TYPE_CHECKING:
    from nnlint import LayerPrecision, PrecisionFailure, PrecisionStats

_LARGEST = {"fp16": 65504.0, "bf16": 3.39e38}
_DTYPES = {"fp16": "float16", "bf16": "bfloat16"}


class HalfPrecisionOverflow(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#precision."""

    relative_error: float = Field(0.5, description="error of a layer's output against float32")


@rule("SIG008", "half-precision-overflow", level="error", since="0.1")
def check(precision: PrecisionStats, options: HalfPrecisionOverflow) -> Iterator[Finding]:
    """An operation that raises, overflows or loses its values in the half precision that training uses.

    ## What it does
    Where the setup says `precision="fp16"` or `"bf16"` (or its Trainer does), the forward and the loss are run once more as
    `torch.autocast` runs them on a GPU, dropout off. The first operation that raises there, or gives NaN or infinity where float32
    gives numbers, is an error. One that differs from float32 by more than half of its norm is a warning.

    ## Why is this bad?
    Beyond 65504 float16 is infinite, a constant such as -1e9 does not fit into it at all, and the next subtraction or softmax
    makes NaN of infinity. bfloat16 has the range of float32 with three significant digits: differences of large numbers are
    lost in it.

    ## Example
        scores = scores.masked_fill(mask, -1e9)

    ## Use instead
        scores = scores.masked_fill(mask, torch.finfo(scores.dtype).min)

    ## References
    - Micikevicius et al.: Mixed Precision Training, 2018, arXiv:1710.03740
    - PyTorch: Automatic Mixed Precision, ops that autocast to float32
    """
    broken = next(iter(precision.overflowing), None)
    lossy = next((layer for layer in precision.layers if _is_lossy(layer, options)), None)
    if broken is not None:
        yield _overflow(broken, precision.precision)
    elif precision.failure is not None:
        yield _raised(precision.failure, precision.precision)
    elif lossy is not None:
        yield _finding(
            lossy,
            f"{lossy.label} differs from float32 by {lossy.relative_error:.0%} of its norm under {precision.precision} "
            f"(limit {options.relative_error:.0%})",
            precision.precision,
            Level.WARNING,
        )


def _is_lossy(layer: LayerPrecision, options: HalfPrecisionOverflow) -> bool:
    return layer.relative_error > options.relative_error and not layer.after_noise


def _overflow(layer: LayerPrecision, precision: str) -> Finding:
    return _finding(
        layer,
        f"{layer.label} gives NaN or infinity under {precision} (largest value in float32: {layer.abs_max:.3g}; largest number "
        f"of {_DTYPES[precision]}: {_LARGEST[precision]:g})",
        precision,
        None,
    )


def _finding(layer: LayerPrecision, message: str, precision: str, level: Level | None) -> Finding:
    return Finding(
        at=layer,
        message=message,
        evidence={
            "abs_max": layer.abs_max,
            "relative_error": layer.relative_error,
            "precision": precision,
            "largest": _LARGEST[precision],
        },
        fix="scale the values down before the layer, or compute it in float32: `with torch.autocast(x.device.type, enabled=False):` "
        "around it and `.float()` on its inputs" + (", or train in bfloat16" if precision == "fp16" else ""),
        level=level,
    )


def _raised(failure: PrecisionFailure, precision: str) -> Finding:
    dtype = _DTYPES[precision]
    if failure.value_range:
        fix = (
            f"use the smallest number of the tensor's own dtype, torch.finfo(scores.dtype).min, or float('-inf') where no row is "
            f"masked completely: {dtype} ends at {_LARGEST[precision]:g}"
        )
    elif "binary_cross_entropy" in failure.error:
        fix = "return logits and use F.binary_cross_entropy_with_logits (BCEWithLogitsLoss), which autocast computes in float32"
    else:
        fix = "cast the inputs of the operation to one dtype (`x.to(y.dtype)`), or run it under torch.autocast(..., enabled=False)"
    return Finding(
        at=failure,
        message=f"{failure.label} raises under {precision}: {failure.error}",
        evidence={"error": failure.error, "precision": precision, "largest": _LARGEST[precision]},
        fix=fix,
    )
