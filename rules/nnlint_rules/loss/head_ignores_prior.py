"""LOS019: a final bias that does not know how often each class occurs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnlint import Finding, Options, Skip, rule
from nnlint_rules.loss._heads import class_count, counted_targets, is_cosine, last_layer

if TYPE_CHECKING:
    from nnlint import LossCalls, MeasuredLoss, PaddingStats, Parameters

_BINARY = ("binary_cross_entropy_with_logits", "multilabel_soft_margin_loss")
_SHOWN = 10  # classes up to which the bias is written out


class PriorBias(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#prior-bias."""

    saving: float = 0.25  # nats of the first loss that the bias would save
    offset: float = 2.0  # regression: mean of the targets, in their standard deviations
    samples: int = 64  # labels needed to know the frequencies


@dataclass(frozen=True)
class _Prior:
    bias: list[float]
    now: float
    then: float
    why: str


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
    for call in losses.of("cross_entropy", *_BINARY, "mse_loss"):
        if call.prediction is None or call.prediction_value is None or call.target_value is None:
            continue
        if is_cosine(call.prediction) or _is_constant(call.target_value):
            continue
        prior = _prior(call, _padding_label(padding), options)
        if prior is None:
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


def _prior(call: MeasuredLoss, padded: float | None, options: PriorBias) -> _Prior | None:
    if call.kind == "cross_entropy":
        return _classes(call, padded, options)
    return _binary(call, options) if call.kind in _BINARY else _mean(call, options)


def _classes(call: MeasuredLoss, padded: float | None, options: PriorBias) -> _Prior | None:
    import torch

    labels, classes, logits = counted_targets(call), class_count(call), call.prediction_value
    if labels is not None and padded is not None:
        labels = labels[labels != padded]
    if labels is None or logits is None or classes is None or logits.dim() < 2 or call.argument("weight") is not None:
        return None
    if labels.numel() < max(options.samples, 4 * classes) or int(labels.max()) >= classes or int(labels.min()) < 0:
        return None
    counts = torch.bincount(labels, minlength=classes).double()
    frequencies = (counts + 1) / (counts + 1).sum()
    common = logits.double().movedim(1, -1).reshape(-1, classes).mean(0)
    now = float(torch.logsumexp(common, 0) - (common * frequencies).sum())
    then = float(-(frequencies * frequencies.log()).sum())
    if not now - then > options.saving:
        return None
    why = f"the classes take {float(counts.max()) / labels.numel():.0%} to {float(counts.min()) / labels.numel():.1%} of the labels"
    return _Prior([float(value) for value in frequencies.log()], now, then, why)


def _binary(call: MeasuredLoss, options: PriorBias) -> _Prior | None:
    from torch.nn import functional

    logits, targets = call.prediction_value, call.target_value
    if logits is None or targets is None or logits.shape != targets.shape or len(targets) < options.samples:
        return None
    if call.argument("pos_weight") is not None or call.argument("weight") is not None:
        return None
    units = (len(targets), -1) if targets.dim() == 2 else (-1, 1)
    shares = targets.double().reshape(units).mean(0)
    common = logits.double().reshape(units).mean(0)
    if not bool(((shares >= 0) & (shares <= 1)).all()):
        return None
    shares = (shares * len(targets) + 0.5) / (len(targets) + 1)
    now = float((functional.softplus(common) - shares * common).mean())
    then = float(-(shares * shares.log() + (1 - shares) * (1 - shares).log()).mean())
    if not now - then > options.saving:
        return None
    bias = [math.log(share / (1 - share)) for share in shares.tolist()]
    return _Prior(bias, now, then, f"{float(shares.mean()):.1%} of the labels are positive")


def _mean(call: MeasuredLoss, options: PriorBias) -> _Prior | None:
    outputs, targets = call.prediction_value, call.target_value
    if (
        outputs is None
        or targets is None
        or outputs.shape != targets.shape
        or len(targets) < options.samples
        or targets.dim() > 2
    ):
        return None
    mean, std = _moments(targets)
    offset = float((outputs.double().mean() - mean.mean()).abs())
    if not offset > options.offset * std or std == 0:
        return None
    now, then = offset**2 + std**2, std**2
    return _Prior(
        [float(value) for value in mean.reshape(-1)],
        now,
        then,
        f"the targets lie around {float(mean.mean()):.3g} +- {std:.3g}",
    )


def _moments(targets: Any) -> tuple[Any, float]:
    values = targets.double()
    mean = values.mean(0)
    return mean, float((values - mean).square().mean().sqrt())
