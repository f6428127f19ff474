"""LOS015: prediction and target broadcast against each other in the loss."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Place, Skip, rule
from nnlint.kinds import DISTANCE_LOSSES
from nnlint_rules.loss._pairings import Pairing, pairings

if TYPE_CHECKING:
    from nnlint import LossCalls

_ELEMENTWISE = (
    *DISTANCE_LOSSES,
    "poisson_nll_loss",
    "kl_div",
    "soft_margin_loss",
    "hinge_embedding_loss",
)


@dataclass(frozen=True)
class _Pair:
    at: Place
    label: str
    prediction: tuple[int, ...]
    target: tuple[int, ...]


@rule("LOS015", "loss-broadcast", level="error", since="0.1")
def check(losses: LossCalls) -> Iterator[Finding]:
    """Prediction and target of different shapes, broadcast against each other.

    ## What it does
    Compares the shapes given to elementwise losses (mse, l1, smooth l1, huber, ...), and follows the axis of the samples
    through what is written by hand: a difference, product or minimum of a column (N, 1) and a row (N,) that is then averaged
    as if it held N terms. It is an error when every prediction is compared with every target, or the target's batch axis is laid
    along another axis; a target repeated along an axis of the prediction is a warning, and so is a column that the loss itself
    made by `unsqueeze`. Pairs that are meant (both sides given an axis, one value against itself, masked or reduced along one
    axis first) are left alone.

    ## Why is this bad?
    (N, 1) against (N,) makes an (N, N) matrix: every prediction is drawn to the mean of all targets, and the loss stays at the
    variance of the targets. torch only warns, once.

    ## Example
        loss = F.mse_loss(model(x), y)  # (64, 1) and (64,)

    ## Use instead
        loss = F.mse_loss(model(x).squeeze(1), y)

    ## References
    - https://github.com/pytorch/pytorch/issues/16045
    """
    if losses.targets_assumed:
        raise Skip("needs real targets; nnlint generated them")
    for pair in _calls(losses):
        level = _judge(pair.prediction, pair.target)
        if level is None:
            continue
        made = _broadcast(pair.prediction, pair.target) or ()
        terms = f"{math.prod(made)} terms of shape {made} from {math.prod(pair.prediction)} predictions"
        yield Finding(
            at=pair.at,
            level=level,
            message=f"{pair.label} compares a prediction of shape {pair.prediction} with a target of shape {pair.target}: {terms}",
            evidence={"prediction": list(pair.prediction), "target": list(pair.target), "terms": list(made)},
            fix=_fix(pair.prediction, pair.target),
        )
    for pairing in pairings(losses):
        yield _paired(losses, pairing)


def _paired(losses: LossCalls, pairing: Pairing) -> Finding:
    prediction = losses.graph.producer(max(pairing.column, pairing.row, key=lambda op: op.requires_grad))
    column, row, made = (op.shape or () for op in (pairing.column, pairing.row, pairing.op))
    samples = max(column)
    return Finding(
        at=Place(prediction.module_path, pairing.op.location),
        level=Level.WARNING if pairing.on_purpose else None,
        message=f"{pairing.op.label} broadcasts {column} against {row} to {made}: each of {samples} samples is paired with "
        f"every other before the mean",
        evidence={"prediction": list(column), "target": list(row), "terms": list(made), "samples": samples},
        fix=f"give both one shape: `.squeeze(-1)` on the {column} side, or `.unsqueeze(-1)` on the {row} side",
    )


def _calls(losses: LossCalls) -> Iterator[_Pair]:
    for call in losses.of(*_ELEMENTWISE):
        if call.prediction is not None and call.target is not None and call.prediction.shape and call.target.shape:
            made = losses.graph.producer(call.prediction)
            place = Place(made.module_path, call.location or made.location)
            yield _Pair(place, call.label, call.prediction.shape, call.target.shape)


def _broadcast(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...] | None:
    rank = max(len(one), len(other))
    pairs = zip((1,) * (rank - len(one)) + one, (1,) * (rank - len(other)) + other, strict=True)
    made = []
    for left, right in pairs:
        if left != right and 1 not in (left, right):
            return None
        made.append(max(left, right) if 0 not in (left, right) else 0)
    return tuple(made)


def _judge(prediction: tuple[int, ...], target: tuple[int, ...]) -> Level | None:
    """Error, warning, or None for shapes that do not harm (or do not broadcast: torch raises)."""
    made = _broadcast(prediction, target)
    if made is None or prediction == target or math.prod(target) <= 1:
        return None
    terms, predictions, targets = math.prod(made), math.prod(prediction), math.prod(target)
    if terms == predictions == targets:
        return None
    if terms > predictions:
        return Level.ERROR
    misaligned = len(target) < len(prediction) and target[0] == prediction[0]
    return Level.ERROR if misaligned else Level.WARNING


def _fix(prediction: tuple[int, ...], target: tuple[int, ...]) -> str:
    if len(prediction) == len(target) + 1 and prediction[-1] == 1:
        return "squeeze the prediction (`output.squeeze(-1)`) or unsqueeze the target (`y.unsqueeze(-1)`)"
    if len(target) == len(prediction) + 1 and target[-1] == 1:
        return "squeeze the target (`y.squeeze(-1)`)"
    return f"give prediction and target one shape: {prediction} or {target}"
