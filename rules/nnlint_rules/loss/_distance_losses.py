"""Closed forms of regression and margin losses: the loss of predicting 0, and the margin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnlint import MeasuredLoss
from nnlint_rules.loss._reading import MIN_SAMPLES, Reading


def of_numbers(call: MeasuredLoss) -> Reading | None:
    """The reading of a loss between numbers."""
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
    best = target.mean(0, keepdim=True).expand_as(target) if len(target) >= MIN_SAMPLES else None
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


def of_margins(call: MeasuredLoss) -> Reading | None:
    """The reading of a loss that asks for a margin."""
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
