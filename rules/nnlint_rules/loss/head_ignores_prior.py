"""LOS019: a final bias that does not know how often each class occurs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nnlint import Finding, Options, Skip, rule
from nnlint_rules.loss._heads import is_cosine, last_layer
from nnlint_rules.loss._prior import BINARY, Prior, best_bias

if TYPE_CHECKING:
    from nnlint import LossCalls, PaddingStats, Parameters

_SHOWN = 10  # classes up to which the bias is written out


class PriorBias(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#prior-bias."""

    saving: float = 0.25  # nats of the first loss that the bias would save
    offset: float = 2.0  # regression: mean of the targets, in their standard deviations
    samples: int = 64  # labels needed to know the frequencies


@rule("LOS019", "head-ignores-prior", level="info", since="0.1")
def check(
    losses: LossCalls, parameters: Parameters, padding: PaddingStats | None, options: PriorBias
) -> Iterator[Finding]:
    """Final bias that does not encode the class frequencies or the mean of the targets.

    ## What it does
    On fresh weights, compares the loss of the input-independent part of the head with that of the best bias: log of the class
    frequencies for cross-entropy, log-odds for binary losses, the mean for squared error. Says which bias to set and what it
    saves. Cosines under a temperature have no bias to set, labels that are all the same have no frequencies, and
    padding is no class: they are left alone.

    ## Why is this bad?
    It is not wrong. The first steps are spent on learning one number for each class, and the large gradients of those steps
    go through the whole net.

    ## Example
        self.head = nn.Linear(64, 2)  # 2 % positives

    ## Use instead
        nn.init.constant_(self.head.bias, math.log(0.02 / 0.98))

    ## References
    - A. Karpathy, A Recipe for Training Neural Networks: "init well"
    - T.-Y. Lin et al., Focal Loss for Dense Object Detection, 2017
    """
    losses.require_targets()
    parameters.require_fresh()
    for call in losses.of("cross_entropy", *BINARY, "mse_loss"):
        if call.prediction is None or call.prediction_value is None or call.target_value is None:
            continue
        if is_cosine(call.prediction) or _is_constant(call.target_value):
            continue
        prior = best_bias(call, _padding_label(padding), samples=options.samples)
        if prior is None or not _is_worth_it(prior, options):
            continue
        layer = last_layer(losses.graph, call.prediction)
        shown = ", ".join(f"{value:.2f}" for value in prior.bias[:_SHOWN]) + (
            ", ..." if len(prior.bias) > _SHOWN else ""
        )
        yield Finding(
            at=layer,
            message=f"{layer.label}: {prior.why}; a bias that says so lowers the first loss from {prior.now:.3g} to {prior.then:.3g}",
            evidence={
                "loss_now": prior.now,
                "loss_then": prior.then,
                "bias": [*prior.bias[:_SHOWN]],
                "limit": options.saving,
            },
            fix=f"set the bias of {layer.label} to [{shown}] before training",
        )


def _is_worth_it(prior: Prior, options: PriorBias) -> bool:
    if prior.offset is not None:
        return prior.offset > options.offset
    return prior.now - prior.then > options.saving


def _is_constant(targets: Any) -> bool:
    """Whether the labels are all the same: of frequencies they say nothing (a discriminator's real and generated samples)."""
    return targets.numel() == 0 or bool((targets == targets.reshape(-1)[0]).all())


def _padding_label(padding: PaddingStats | None) -> float | None:
    """The label that pads the targets; None where they are not padded."""
    if padding is None:
        return None
    try:
        return padding.in_loss.value
    except Skip:
        return None


