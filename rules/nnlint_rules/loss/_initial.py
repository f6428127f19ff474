"""Closed forms of the loss that an uninformed prediction has, and how far a measured one is from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from nnlint.kinds import BINARY_LOSSES, CLASS_LOSSES, DISTANCE_LOSSES
from nnlint_rules.loss._distance_losses import of_margins, of_numbers
from nnlint_rules.loss._heads import last_layer
from nnlint_rules.loss._log_losses import of_classes, of_pairs
from nnlint_rules.loss._reading import Reading
from nnlint_rules.loss._scale import is_own_scale

if TYPE_CHECKING:
    from nnlint import LossCalls, MeasuredLoss, Op, Parameters, StepStats

_CATEGORICAL = (*CLASS_LOSSES, "kl_div", "ctc_loss")
_BINARY = (*BINARY_LOSSES, "soft_margin_loss")
_REGRESSION = (*DISTANCE_LOSSES, "gaussian_nll_loss", "poisson_nll_loss")
_MARGIN = ("multi_margin_loss", "triplet_margin_loss", "margin_ranking_loss", "hinge_embedding_loss")
#: Entries below which any weights look as they were drawn. No calibration: as few as the statistics of fresh weights ask for.
_FEW = 64


def read(call: MeasuredLoss, *, trusted: bool) -> Reading | None:
    """The reading of a loss call; None where there is no closed form for it. `trusted`: the targets are the user's."""
    if (
        call.prediction_value is None
        or call.prediction_value.numel() == 0
        or not call.prediction_value.is_floating_point()
    ):
        return None
    if call.kind in _CATEGORICAL:
        return of_classes(call, trusted=trusted)
    if call.kind in _BINARY:
        return of_pairs(call, trusted=trusted)
    if not trusted:
        return None
    if call.kind in _REGRESSION:
        return of_numbers(call)
    return of_margins(call) if call.kind in _MARGIN else None


def is_surely_fresh(parameters: Parameters) -> bool:
    """Whether small weights are in the range of torch's default: too few for their shape to tell, trained ones leave it."""
    small = [view for view in parameters.of_kind("weight") if view.numel < _FEW and view.default_bound]
    return all(view.is_default_in_parts(1) for view in small)


def calms_down(reading: Reading, steps: StepStats | None, *, updates: int) -> bool:
    """Whether the first few updates of the user's optimizer already bring a log-loss below what chance has."""
    if steps is None or not steps.own_optimizer or steps.surrogate or reading.excess is None:
        return False
    return any(loss <= reading.expected for loss in steps.losses[1 : 1 + updates])


def of_each_head(losses: LossCalls, *, trusted: bool) -> Iterator[tuple[MeasuredLoss, Op, Reading]]:
    """Every judged loss with its head; one target of many may be 0 by chance, so that a head's calls are compared as one."""
    found = [
        (call, last_layer(losses.graph, call.prediction), reading)
        for call in losses
        if call.prediction is not None and (reading := read(call, trusted=trusted)) is not None
        if not is_own_scale(losses.graph, call, reading)
    ]
    for call, layer, reading in found:
        same = [other for _, head, other in found if head.label == layer.label and other.ratio is not None]
        if reading.ratio is not None and len(same) > 1:
            measured, expected = (sum(values) for values in zip(*((r.measured or 0.0, r.expected) for r in same), strict=True))
            pooled = measured / expected if expected > 0 else reading.ratio
            yield call, layer, replace(reading, ratio=min(reading.ratio, pooled))
        else:
            yield call, layer, reading
