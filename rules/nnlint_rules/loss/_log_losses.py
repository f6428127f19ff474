"""Closed forms of losses that are logarithms of probabilities: ln C for classes, ln 2 for pairs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from nnlint.kinds import CLASS_LOSSES
from nnlint_rules.loss._heads import thinned

if TYPE_CHECKING:
    from nnlint import MeasuredLoss
from nnlint_rules.loss._reading import MIN_SAMPLES, Reading

_ENTRIES = 1 << 22  # of a prediction that are looked at; a language model's logits have many more


_MASKED = -1e4  # a logit this far below the row's largest is a mask


def of_classes(call: MeasuredLoss, *, trusted: bool) -> Reading | None:
    """The reading of a loss over classes."""
    import torch

    logits, labels = _rows(call)
    classes = logits.shape[1]
    if classes < 2 or not bool(torch.isfinite(logits.amax(1)).all()):
        return None
    open_ = logits > logits.amax(1, keepdim=True) + _MASKED
    counts = open_.sum(1)
    lse = torch.logsumexp(logits, 1)
    mean = torch.where(open_, logits, 0.0).sum(1) / counts
    excess = float((lse - mean - counts.double().log()).mean())
    expected = float(counts.double().log().mean())
    words = f"ln {classes} = {expected:.3f}" if bool(open_.all()) else f"{expected:.3f} (ln of the open classes)"
    reading = Reading(expected, None, words, excess=excess)
    if not trusted or labels is None or len(labels) == 0 or call.kind not in CLASS_LOSSES:
        return reading
    measured = float(_nll(logits, labels).mean())
    if not bool(open_.all()) or len(logits) < MIN_SAMPLES:
        return Reading(expected, measured, words, excess=excess)
    common = logits.mean(0, keepdim=True)
    constant = float(_nll(common.expand_as(logits), labels).mean())
    noise = float((logits - common).std(1).mean()) / math.sqrt(len(logits))
    return Reading(expected, measured, words, excess=excess, constant=constant, noise=noise)


def _nll(logits: Any, labels: Any) -> Any:
    import torch

    log_probabilities = torch.log_softmax(logits, 1)
    if labels.dim() == 2:
        return -torch.where(labels > 0, labels * log_probabilities, 0.0).sum(1)
    return -log_probabilities.gather(1, labels[:, None]).squeeze(1)


def _rows(call: MeasuredLoss) -> tuple[Any, Any]:
    """Logits as (decisions, classes) and their labels: indices, distributions, or None; ignored ones left out."""
    values, target = call.prediction_value, call.target_value
    assert values is not None  # seen by the caller
    dim = call.class_dim if call.kind in CLASS_LOSSES else values.dim() - 1
    classes = values.shape[dim]
    logits = values.movedim(dim, -1).reshape(-1, classes)
    labels = None
    if target is not None and target.shape == values.shape and target.is_floating_point():
        labels = target.movedim(dim, -1).reshape(-1, classes)
    elif target is not None and not target.is_floating_point() and target.numel() == len(logits):
        labels = target.reshape(-1).long()
        valid = (labels >= 0) & (labels < classes) & (labels != call.argument("ignore_index", -100))
        logits, labels = logits[valid], labels[valid]
    step = max(1, len(logits) * classes // _ENTRIES)
    if labels is not None:
        labels = labels[::step].double() if labels.dim() == 2 else labels[::step]
    return logits[::step].double(), labels


def of_pairs(call: MeasuredLoss, *, trusted: bool) -> Reading | None:
    """The reading of a loss over pairs of classes."""
    import torch
    from torch.nn import functional

    values, target = call.prediction_value, call.target_value
    if values is None:
        return None
    logits = thinned(values) if values.dim() else thinned(values).reshape(1)
    if call.kind == "binary_cross_entropy":
        logits = torch.logit(logits.clamp(1e-12, 1 - 1e-12))
    if not bool(torch.isfinite(logits).all()):
        return None
    common = logits.mean(0, keepdim=True)
    # Without the user's labels a bias that encodes rare positives cannot be told from a wrong one: leave it out.
    judged = logits if trusted else logits - common
    excess = float((functional.softplus(judged) - judged / 2).mean()) - math.log(2.0)
    reading = Reading(math.log(2.0), None, "ln 2 = 0.693", excess=excess)
    if not trusted or target is None or target.shape != values.shape:
        return reading
    labels = thinned(target) if target.dim() else thinned(target).reshape(1)
    if call.kind == "soft_margin_loss":
        labels = (labels + 1) / 2
    measured = float((functional.softplus(logits) - labels * logits).mean())
    constant = float((functional.softplus(common) - labels * common).mean()) if len(logits) >= MIN_SAMPLES else None
    noise = float((logits - common).std()) / math.sqrt(len(logits)) if len(logits) > 1 else 0.0
    return Reading(math.log(2.0), measured, "ln 2 = 0.693", excess=excess, constant=constant, noise=noise)
