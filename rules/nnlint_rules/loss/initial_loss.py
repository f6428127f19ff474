"""LOS018: the loss at initialization departs from its closed form."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Options, rule
from nnlint_rules._shared.library import initialized_by_library
from nnlint_rules._shared.tied import tied_heads
from nnlint_rules.loss._departure import too_high, too_low
from nnlint_rules.loss._heads import compares_samples, is_of_noise
from nnlint_rules.loss._initial import calms_down, is_surely_fresh, of_each_head, read
from nnlint_rules.loss._input_scale import input_scale, rescaled
from nnlint_rules.loss._reading import Reading
from nnlint_rules.loss._scale import is_similarity, of_standard_families

if TYPE_CHECKING:
    from nnlint import Batch, LossCalls, MeasuredLoss, Op, Parameters, StepStats


class InitialLoss(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#initial-loss."""

    excess: float = 0.7  # nats that the spread of the logits adds; healthy public models reach 0.31
    grave_excess: float = 3.0  # nats of excess from which it is an error
    gross: float = 5.0  # measured loss, in multiples of the closed form, that is an error with any labels
    shortfall: float = 0.3  # nats below the closed form that label noise does not explain
    noise: float = 5.0  # standard errors of label noise that a shortfall must exceed
    ratio: float = 100.0  # regression and margin losses: multiple of the closed form (outputs 10 times the targets)
    grave_ratio: float = 10000.0  # the multiple from which it is an error
    updates: int = 3  # of the user's optimizer: a log-loss that they bring below its closed form is an info
    copied: float = 0.001  # regression: share of the best constant's loss below which the target leaks


@rule("LOS018", "initial-loss", level="warning", since="0.1")
def check(
    losses: LossCalls, parameters: Parameters, batch: Batch | None, steps: StepStats | None, options: InitialLoss
) -> Iterator[Finding]:
    """Loss at initialization far from what an uninformed prediction has.

    ## What it does
    Compares the first loss of a freshly initialized model with its closed form: ln C for cross-entropy, ln 2 for binary
    losses, the loss of predicting 0 for regression, the margin for margin losses. For log-losses the excess is computed from
    the logits alone, mean(logsumexp - mean) - ln C, so that the labels of a small batch add no noise; a bias that encodes the
    class frequencies is recognized by the labels' own loss. Too low is reported as well, but not of logits that compare samples with
    each other (prototypes, pairs of views): random features keep what is near near. Trained weights are not judged, nor
    logits that are cosines under a temperature (CLIP, ArcFace), nor a regression loss between two outputs of the model. Logits
    of a matrix tied to the embedding that are too high are INI011's. What unscaled inputs explain (nothing is left when the
    logits are divided by their scale) is never more than a warning, nor is what a model library built: weights are usually
    loaded over it. A head with a standard initialization (Kaiming, Xavier; with `mode="fan_out"` where most layers have it) is an info up
    to 3 nats, and so are a log-loss that the optimizer's first few updates bring below its closed form and logits that are made of
    sampled values without a layer between (products of latent codes): their scale is that of the noise.

    ## Why is this bad?
    Before training the model knows nothing. A higher loss means logits that are confident at random: the first epochs only
    shrink them, often along dead or saturated units. A lower one means that the answer is known already: the target leaks
    into the input, or the weights are not fresh.

    ## Example
        nn.init.normal_(self.head.weight, std=1.0)

    ## Use instead
        nn.init.normal_(self.head.weight, std=0.01)

    ## References
    - A. Karpathy, A Recipe for Training Neural Networks: "verify loss @ init"
    - CS231n, Neural Networks 3: "look for correct loss at chance performance"
    """
    losses.require_result()
    parameters.require_fresh()
    standard, fresh = of_standard_families(parameters), is_surely_fresh(parameters)
    tied = tied_heads(losses.graph)  # whose spread INI011 judges, without the token that was read
    trusted = not (losses.targets_assumed or losses.inputs_assumed)
    found: dict[str, tuple[float, Finding]] = {}
    for call, layer, reading in of_each_head(losses, trusted=trusted):
        assert call.prediction is not None
        judged = _judged_high(call, layer, reading, options) if layer not in tied else None
        calm = judged is not None and judged[1].level is None and not standard.isdisjoint(layer.parameters)
        if judged is not None and (calm or is_of_noise(layer) or calms_down(reading, steps, updates=options.updates)):
            judged = judged[0], replace(judged[1], level=Level.INFO)
        if judged is None and fresh and not (reading.excess is not None and compares_samples(losses.graph, call.prediction)):
            judged = _judged_low(call, layer, reading, options)
        scale = input_scale(batch, losses.graph, call.prediction)
        if (
            judged is not None
            and judged[1].level is not Level.INFO
            and (
                initialized_by_library(layer, losses.graph)
                or (scale > 1.0 and _is_calm(rescaled(call, scale), layer, options, trusted=trusted))
            )
        ):
            judged = judged[0], replace(judged[1], level=Level.WARNING)
        # The same head often has a loss at every scale or position: the worst stands for all.
        if judged is not None and judged[0] > found.get(layer.label, (0.0,))[0]:
            found[layer.label] = judged
    yield from (finding for _, finding in found.values())


def _is_calm(call: MeasuredLoss, layer: Op, options: InitialLoss, *, trusted: bool) -> bool:
    """Whether nothing is left of a high loss: its cause is elsewhere, and that finding is no error."""
    reading = read(call, trusted=trusted)
    return reading is not None and _judged_high(call, layer, reading, options) is None


def _judged_high(call: MeasuredLoss, layer: Op, reading: Reading, options: InitialLoss) -> tuple[float, Finding] | None:
    gross = reading.excess is not None and reading.measured is not None
    if gross and reading.measured is not None and reading.measured > options.gross * reading.expected:
        return too_high(
            layer, call, reading, Level.ERROR, reading.measured - reading.expected, options.gross * reading.expected
        )
    if reading.excess is not None:
        informed = reading.measured is not None and reading.measured <= reading.expected + reading.excess / 4
        limit = options.grave_excess if is_similarity(layer) else options.excess
        if reading.excess <= limit or informed:
            return None
        grave = reading.excess > options.grave_excess and not is_similarity(layer)
        return too_high(layer, call, reading, Level.ERROR if grave else None, reading.excess, limit)
    if reading.ratio is None or not math.isfinite(reading.ratio) or reading.ratio <= options.ratio:
        return None
    level = Level.ERROR if reading.ratio > options.grave_ratio else None
    return too_high(layer, call, reading, level, reading.ratio, options.ratio)


def _judged_low(call: MeasuredLoss, layer: Op, reading: Reading, options: InitialLoss) -> tuple[float, Finding] | None:
    if reading.measured is None or reading.constant is None:
        return None
    if reading.excess is None:
        limit = options.copied * reading.constant
    else:
        # Random labels would give the closed form and the excess, with the noise of so many samples.
        random = reading.expected + reading.excess - options.noise * reading.noise
        limit = min(min(reading.expected, reading.constant) - options.shortfall, random)
    if reading.measured >= limit:
        return None
    return limit - reading.measured, too_low(layer, call, reading, limit)
