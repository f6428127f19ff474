"""DAT010: regression targets far from the scale of a fresh output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, Skip, rule

if TYPE_CHECKING:
    from nnlint import Batch, LossCalls


class UnscaledTarget(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#target-scale."""

    scale: float = Field(10.0, description="largest std, or |mean|, of the targets")
    excess: float = Field(10.0, description="root mean square of the targets over that of the predictions")


@rule("DAT010", "unscaled-target", level="warning", since="0.1")
def check(losses: LossCalls, batch: Batch, options: UnscaledTarget) -> Iterator[Finding]:
    """Regression targets with a scale or offset far above 1, under a squared error.

    ## What it does
    Reports targets of a mean squared error whose standard deviation or mean is above 10 while the model's outputs are at least
    ten times smaller; says the initial loss this leads to. A model that scales its output to the targets is silent.

    ## Why is this bad?
    The gradient of a squared error is proportional to the error: with targets of scale 100 every gradient is a hundred times
    what the learning rate was made for. Training diverges at the usual rates, or needs clipping that hides the cause.

    ## Example
        loss = F.mse_loss(model(x).squeeze(1), price)                        # prices around 250 000

    ## Use instead
        price = (price - price_mean) / price_std                             # and undo it for the prediction
        loss = F.mse_loss(model(x).squeeze(1), price)

    ## References
    - LeCun, Bottou, Orr and Mueller: Efficient BackProp, 1998, section 4.5 (choosing target values)
    """
    batch.require_real_targets()
    if not losses.measured:
        raise Skip("the loss was not measured")
    for call in losses.of("mse_loss"):
        target, prediction, value = call.target_value, call.prediction_value, call.value
        if target is None or prediction is None or value is None:
            continue
        if not target.is_floating_point() or target.numel() < 2:
            continue
        mean, std = float(target.double().mean()), float(target.double().std(correction=0))
        ratio = float(target.double().square().mean().sqrt()) / max(
            float(prediction.double().square().mean().sqrt()), 1e-12
        )
        if max(abs(mean), std) <= options.scale or not ratio > options.excess:
            continue
        yield Finding(
            at=call,
            message=f"the targets have mean {mean:.3g} and std {std:.3g} (limit {options.scale:g}), {ratio:.0f} times the scale of the "
            f"model's outputs: {call.label} starts at {float(value.double().mean()):.3g}, and so do the gradients",
            evidence={
                "target_mean": mean,
                "target_std": std,
                "limit": options.scale,
                "over_prediction": ratio,
                "loss": float(value.double().mean()),
            },
            fix="standardize the targets by mean and standard deviation of the training set (a logarithm first where they span "
            "orders of magnitude), and scale predictions back",
        )
