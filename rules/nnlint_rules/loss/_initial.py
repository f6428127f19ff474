"""Closed forms of the loss that an uninformed prediction has, and how far a measured one is from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnlint_rules.loss._heads import thinned

if TYPE_CHECKING:
    from nnlint import MeasuredLoss

CATEGORICAL = ("cross_entropy", "nll_loss", "kl_div", "ctc_loss")
BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss", "soft_margin_loss")
REGRESSION = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "gaussian_nll_loss", "poisson_nll_loss")
MARGIN = ("multi_margin_loss", "triplet_margin_loss", "margin_ranking_loss", "hinge_embedding_loss")

_ENTRIES = 1 << 22  # of a prediction that are looked at; a language model's logits have many more
_MASKED = -1e4  # a logit this far below the row's largest is a mask
_MIN_SAMPLES = 8  # fewer say nothing about a loss being too low


@dataclass(frozen=True)
class Reading:
    """A measured loss and its closed form.

    Attributes:
        expected: the loss of an uninformed prediction.
        measured: the unweighted mean loss; None where the targets are made up.
        excess: log-losses: how much the spread of the logits alone adds, whatever the labels; else None.
        ratio: other losses: measured / expected; else None.
        constant: loss of the best input-independent prediction the head makes; None where it is not known.
        noise: standard error of the measured loss under random labels.
        words: what the expected value is, in words.
    """

    expected: float
    measured: float | None
    words: str
    excess: float | None = None
    ratio: float | None = None
    constant: float | None = None
    noise: float = 0.0


def read(call: MeasuredLoss, *, trusted: bool) -> Reading | None:
    """The reading of a loss call; None where there is no closed form for it. `trusted`: the targets are the user's."""
    if (
        call.prediction_value is None
        or call.prediction_value.numel() == 0
        or not call.prediction_value.is_floating_point()
    ):
        return None
    if call.kind in CATEGORICAL:
        return _categorical(call, trusted=trusted)
    if call.kind in BINARY:
        return _binary(call, trusted=trusted)
    if not trusted:
        return None
    if call.kind in REGRESSION:
        return _regression(call)
    return _margin(call) if call.kind in MARGIN else None


# ------------------------------------------------------------- log-losses


def _categorical(call: MeasuredLoss, *, trusted: bool) -> Reading | None:
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
    if not trusted or labels is None or len(labels) == 0 or call.kind not in ("cross_entropy", "nll_loss"):
        return reading
    measured = float(_nll(logits, labels).mean())
    if not bool(open_.all()) or len(logits) < _MIN_SAMPLES:
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
    dim = call.class_dim if call.kind in ("cross_entropy", "nll_loss") else values.dim() - 1
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


def _binary(call: MeasuredLoss, *, trusted: bool) -> Reading | None:
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
    constant = float((functional.softplus(common) - labels * common).mean()) if len(logits) >= _MIN_SAMPLES else None
    noise = float((logits - common).std()) / math.sqrt(len(logits)) if len(logits) > 1 else 0.0
    return Reading(math.log(2.0), measured, "ln 2 = 0.693", excess=excess, constant=constant, noise=noise)


# ---------------------------------------------------- regression and margins


def _regression(call: MeasuredLoss) -> Reading | None:
    import torch

    values, target = call.prediction_value, call.target_value
    if values is None or target is None or values.shape != target.shape:
        return None
    values, target = values.double(), target.double()
    if not bool(torch.isfinite(values).all() & torch.isfinite(target).all()):
        return None
    zero = torch.zeros_like(values)
    if call.kind == "poisson_nll_loss":
        return _poisson(call, values, target)
    if call.kind == "gaussian_nll_loss":
        expected = 0.5 * float((target**2).mean())
        measured = _mean_value(call)
        return Reading(
            expected, measured, "half the mean square of the targets", ratio=_ratio(measured, expected + 0.5)
        )
    expected = float(_distance(call, zero, target))
    measured = float(_distance(call, values, target))
    best = target.mean(0, keepdim=True).expand_as(target) if len(target) >= _MIN_SAMPLES else None
    constant = float(_distance(call, best, target)) if best is not None else None
    words = f"{expected:.3g}, the loss of predicting 0"
    return Reading(expected, measured, words, ratio=_ratio(measured, expected), constant=constant)


def _distance(call: MeasuredLoss, values: Any, target: Any) -> Any:
    from torch.nn import functional

    if call.kind == "l1_loss":
        return functional.l1_loss(values, target)
    if call.kind == "smooth_l1_loss":
        return functional.smooth_l1_loss(values, target, beta=float(call.argument("beta", 1.0)))
    if call.kind == "huber_loss":
        return functional.huber_loss(values, target, delta=float(call.argument("delta", 1.0)))
    return functional.mse_loss(values, target)


def _poisson(call: MeasuredLoss, values: Any, target: Any) -> Reading | None:
    if call.argument("log_input") is False:
        return None
    measured = float((values.exp() - target * values).mean())
    # At a log-rate of 0 the loss is exactly 1; it may be negative, so the scale is that of the targets.
    scale = 1.0 + float(target.abs().mean())
    return Reading(1.0, measured, "1.000, the loss of a log-rate of 0", ratio=_ratio(measured, scale))


def _margin(call: MeasuredLoss) -> Reading | None:
    margin = call.argument("margin", 0.0 if call.kind == "margin_ranking_loss" else 1.0)
    values, target = call.prediction_value, call.target_value
    measured = _mean_value(call)
    if not isinstance(margin, (int, float)) or margin <= 0 or measured is None or values is None:
        return None
    expected = float(margin)
    if call.kind == "multi_margin_loss":
        classes = values.shape[call.class_dim]
        expected = margin * (classes - 1) / classes
    elif call.kind == "hinge_embedding_loss" and target is not None:
        expected = max(margin * float((target < 0).double().mean()), 1e-12)
    return Reading(expected, measured, f"{expected:.3g} for equal scores", ratio=_ratio(measured, expected))


def _mean_value(call: MeasuredLoss) -> float | None:
    """The mean loss of a sample, whatever the reduction."""
    if call.value is None or call.value.numel() == 0 or call.prediction_value is None:
        return None
    if call.argument("reduction", "mean") == "sum":
        return float(call.value) / max(len(call.prediction_value), 1)
    return float(call.value.double().mean())


def _ratio(measured: float | None, expected: float) -> float | None:
    return measured / expected if measured is not None and expected > 0 else None
