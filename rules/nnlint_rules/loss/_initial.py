"""Closed forms of the loss that an uninformed prediction has, and how far a measured one is from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnlint_rules.loss._distance_losses import of_margins, of_numbers
from nnlint_rules.loss._log_losses import of_classes, of_pairs
from nnlint_rules.loss._reading import Reading

if TYPE_CHECKING:
    from nnlint import MeasuredLoss, Parameters, StepStats

_CATEGORICAL = ("cross_entropy", "nll_loss", "kl_div", "ctc_loss")
_BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss", "soft_margin_loss")
_REGRESSION = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "gaussian_nll_loss", "poisson_nll_loss")
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
