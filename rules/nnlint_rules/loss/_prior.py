"""The bias that says how often each class occurs, or where the targets lie, and what it saves of the first loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnlint_rules.loss._heads import class_count, counted_targets

if TYPE_CHECKING:
    from nnlint import MeasuredLoss


BINARY = ("binary_cross_entropy_with_logits", "multilabel_soft_margin_loss")


@dataclass(frozen=True)
class Prior:
    """The best bias of a head.

    Attributes:
        bias: one number for each output.
        now, then: the loss of the part of the head that no input changes, and with this bias.
        why: what the targets say, in words.
        offset: regression: how far the outputs are from the mean of the targets, in their standard deviations.
    """

    bias: list[float]
    now: float
    then: float
    why: str
    offset: float | None = None


def best_bias(call: MeasuredLoss, padded: float | None, *, samples: int) -> Prior | None:
    """The best bias of the head before a loss; None where the labels do not tell, or are fewer than `samples`."""
    if call.kind == "cross_entropy":
        return _of_classes(call, padded, samples)
    return _of_positives(call, samples) if call.kind in BINARY else _of_numbers(call, samples)


def _of_classes(call: MeasuredLoss, padded: float | None, samples: int) -> Prior | None:
    import torch

    labels, classes, logits = counted_targets(call), class_count(call), call.prediction_value
    if labels is not None and padded is not None:
        labels = labels[labels != padded]
    if labels is None or logits is None or classes is None or logits.dim() < 2 or call.argument("weight") is not None:
        return None
    if labels.numel() < max(samples, 4 * classes) or int(labels.max()) >= classes or int(labels.min()) < 0:
        return None
    counts = torch.bincount(labels, minlength=classes).double()
    frequencies = (counts + 1) / (counts + 1).sum()
    common = logits.double().movedim(1, -1).reshape(-1, classes).mean(0)
    now = float(torch.logsumexp(common, 0) - (common * frequencies).sum())
    then = float(-(frequencies * frequencies.log()).sum())
    why = f"the classes take {float(counts.max()) / labels.numel():.0%} to {float(counts.min()) / labels.numel():.1%} of the labels"
    return Prior([float(value) for value in frequencies.log()], now, then, why)


def _of_positives(call: MeasuredLoss, samples: int) -> Prior | None:
    from torch.nn import functional

    logits, targets = call.prediction_value, call.target_value
    if logits is None or targets is None or logits.shape != targets.shape or len(targets) < samples:
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
    bias = [math.log(share / (1 - share)) for share in shares.tolist()]
    return Prior(bias, now, then, f"{float(shares.mean()):.1%} of the labels are positive")


def _of_numbers(call: MeasuredLoss, samples: int) -> Prior | None:
    outputs, targets = call.prediction_value, call.target_value
    if (
        outputs is None
        or targets is None
        or outputs.shape != targets.shape
        or len(targets) < samples
        or targets.dim() > 2
    ):
        return None
    mean, std = _moments(targets)
    offset = float((outputs.double().mean() - mean.mean()).abs())
    if std == 0:
        return None
    now, then = offset**2 + std**2, std**2
    return Prior(
        [float(value) for value in mean.reshape(-1)],
        now,
        then,
        f"the targets lie around {float(mean.mean()):.3g} +- {std:.3g}",
        offset / std,
    )


def _moments(targets: Any) -> tuple[Any, float]:
    values = targets.double()
    mean = values.mean(0)
    return mean, float((values - mean).square().mean().sqrt())
