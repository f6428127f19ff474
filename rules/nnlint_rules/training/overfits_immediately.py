"""TRN006: the gap between training and validation opens within the first steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, rule

if TYPE_CHECKING:
    from nnlint import ValidationGap


class OverfitsImmediately(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#validation-gap."""

    fall: float = Field(0.5, description="share of its first value that the training loss has to fall by")
    gap: float = Field(0.3, description="of the first loss: validation loss over training loss at the end")


@rule("TRN006", "overfits-immediately", level="info", since="0.1")
def check(validation: ValidationGap, options: OverfitsImmediately) -> Iterator[Finding]:
    """A short training learns the training data and not what it has in common with the validation data.

    ## What it does
    With validation data given (`val_data`), trains for a few dozen steps as configured and compares, in evaluation mode, the
    loss on training batches and on validation batches. Reported is a training loss that falls by half while the validation loss
    stays above it by more than 30 % of the first loss. Says which regularization the setup has, and, where it has any, how the
    same run ends without it.

    ## Why is this bad?
    It need not be: a net has to be able to overfit. But a gap that opens at once says that there is too little data for so many
    weights, or that validation data are of another kind (other preprocessing, other labels).

    ## Example
        model = nn.Sequential(nn.Linear(100, 2048), nn.ReLU(), nn.Linear(2048, 10))    # for 64 samples

    ## Use instead
        model = nn.Sequential(nn.Linear(100, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10))

    ## References
    - CS231n, Neural Networks Part 3: the gap between training and validation accuracy
    - Karpathy: A Recipe for Training Neural Networks, 2019 ("regularize")
    """
    first, last = validation.train[0], validation.train[-1]
    if first <= 0 or last > (1.0 - options.fall) * first:
        return
    gap = (validation.validation[-1] - last) / first
    if gap <= options.gap or validation.validation[0] - last > 2.0 * first:
        return
    has = ", ".join(validation.regularized) or "none"
    without = f"; without it {validation.plain_validation[-1]:.4g}" if validation.plain_validation else ""
    yield Finding(
        at=None,
        message=f"in {validation.steps * (len(validation.train) - 1)} steps the training loss falls from {first:.4g} to {last:.4g}, the "
        f"validation loss from {validation.validation[0]:.4g} to {validation.validation[-1]:.4g}: a gap of {gap:.0%} of the first "
        f"loss (limit {options.gap:.0%}); regularization: {has}{without}",
        evidence={
            "train": [*validation.train],
            "validation": [*validation.validation],
            "validation_without_regularization": [*validation.plain_validation],
            "regularization": [*validation.regularized],
            "gap": gap,
            "limit": options.gap,
        },
        fix="check first that validation data are prepared like the training data; then more data or augmentation, a smaller model, "
        "weight decay, dropout",
    )
