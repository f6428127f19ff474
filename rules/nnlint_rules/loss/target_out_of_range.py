"""LOS016: targets that the head's last function cannot reach."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Options, rule
from nnlint.kinds import BINARY_LOSSES, DISTANCE_LOSSES
from nnlint_rules.loss._ranges import Interval, value_range

if TYPE_CHECKING:
    from torch import Tensor

    from nnlint import LossCalls, MeasuredLoss, Op



class Reach(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#target-range."""

    margin: float = 0.02  # of the range's width (of 1 where it is open): interpolation overshoots by that much
    share: float = 0.01  # of the targets out of reach before the rule speaks
    grave_share: float = 0.05  # below it a warning


@rule("LOS016", "target-out-of-range", level="error", since="0.1")
def check(losses: LossCalls, options: Reach) -> Iterator[Finding]:
    """Targets outside the range of the head's last function.

    ## What it does
    Works out which values the prediction can take (sigmoid, tanh, relu, softmax, clamp, and sums and products with numbers
    after them) and compares the targets of mse, l1, smooth l1 and huber losses with that range. Targets of binary
    cross-entropies are compared with [0, 1]. Of a Poisson likelihood, also a written-out one, it reports a rate that is taken for
    the logarithm of one (an exp before a loss that takes the exponential itself, or another head that is never negative, where
    the counts are below 1 on average), and values of both signs that are taken for a rate.

    ## Why is this bad?
    A target that the head cannot reach leaves a loss that cannot be trained away: the net drives the last activation into
    saturation, where no gradient passes. Binary cross-entropy on labels of -1 or 255 has no lower bound at all.

    ## Example
        return torch.sigmoid(self.head(x))  # regression targets from -3 to 3

    ## Use instead
        return self.head(x)  # or scale the targets into the range

    ## References
    - PyTorch: `torch.nn.Sigmoid`, `torch.nn.Tanh`: ranges (0, 1) and (-1, 1)
    """
    losses.require_targets()
    for call in losses.of(*DISTANCE_LOSSES, *BINARY_LOSSES):
        if call.prediction is None or call.target_value is None or call.target_value.numel() == 0:
            continue
        binary = call.kind in BINARY_LOSSES
        reach = Interval(0.0, 1.0, source=call.label) if binary else value_range(call.prediction)
        found = _judge(call, reach, options)
        if found is not None:
            head = losses.graph.producer(call.prediction)
            yield _finding(call, _source(losses, call) if not binary else head, reach, found, options)
    for call in losses.of("poisson_nll_loss"):
        if call.prediction is not None and call.target_value is not None and call.target_value.numel():
            yield from _of_rate(losses, call, call.prediction, call.target_value)


def _of_rate(losses: LossCalls, call: MeasuredLoss, prediction: Op, counts: Tensor) -> Iterator[Finding]:
    """A Poisson likelihood whose input is taken for a rate and is its logarithm, or the reverse."""
    head, reach, mean = losses.graph.producer(prediction), value_range(prediction), float(counts.double().mean())
    if call.argument("log_input") is False:
        values = call.prediction_value
        negative = float((values < 0).double().mean()) if values is not None else 0.0
        if negative > 0 and not reach.inside(0.0, float("inf")):
            yield Finding(
                at=head,
                message=f"{call.label} expects rates, which are positive, but {negative:.0%} of what {head.label} gives are negative",
                evidence={"share_negative": negative, "limit": 0.0},
                fix="give the loss the logarithm of the rate (`log_input=True`, the default), or apply `exp` or `softplus` to the output",
            )
        return
    lowest = math.exp(min(reach.low, 700.0)) if reach.known else 0.0
    if head.name == "exp" or mean < lowest:
        yield Finding(
            at=head,
            message=f"{call.label} takes the exponential of its input, the logarithm of a rate, but gets the values of {head.label}: no "
            f"rate is below {lowest:.3g}, and the counts have a mean of {mean:.3g}",
            evidence={"lowest_rate": lowest, "mean_count": mean},
            fix=f"remove the {head.name}, so that the loss gets the logarithm of the rate, or use `log_input=False`",
        )


def _source(losses: LossCalls, call: MeasuredLoss) -> Op:
    """The op that bounds the prediction: the nearest one upstream with a range of its own."""
    assert call.prediction is not None  # seen by the caller
    for op in losses.graph.chain_back(call.prediction):
        if op.range is not None or op.is_kind("clamp", "hardtanh"):
            return op
    return losses.graph.producer(call.prediction)


def _judge(call: MeasuredLoss, reach: Interval, options: Reach) -> tuple[float, float, float] | None:
    """Share of targets out of reach, lowest and highest target; None where (nearly) all are within."""
    if not reach.bounded or call.target_value is None:
        return None
    targets = call.target_value.double()
    width = reach.high - reach.low if reach.low > -float("inf") and reach.high < float("inf") else 1.0
    margin = options.margin * width
    outside = (targets < reach.low - margin) | (targets > reach.high + margin)
    share = float(outside.double().mean())
    return (share, float(targets.min()), float(targets.max())) if share >= options.share else None


def _finding(call: MeasuredLoss, at: Op, reach: Interval, found: tuple[float, float, float], options: Reach) -> Finding:
    share, low, high = found
    binary = call.kind in BINARY_LOSSES
    what = f"{call.label} expects targets in {reach}" if binary else f"{at.label}: the prediction stays in {reach}"
    return Finding(
        at=at,
        level=None if share >= options.grave_share else Level.WARNING,
        message=f"{what}, and {share:.0%} of the targets are outside ({low:.3g} to {high:.3g}; limit {options.share:.0%})",
        evidence={"range": str(reach), "share_outside": share, "lowest": low, "highest": high, "limit": options.share},
        fix="map the labels to 0 and 1 (masks: divide by 255, labels of -1: (y + 1) / 2)"
        if binary
        else f"remove {at.name} from the output, or scale the targets into {reach}",
    )
