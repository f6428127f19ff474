"""LOS012: binary cross-entropy on one-hot targets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Options, rule
from nnlint.kinds import BINARY_LOSSES
from nnlint_rules.loss._targets import target_rows

if TYPE_CHECKING:
    from nnlint import Declared, LossCalls, MeasuredLoss

#: Mean probability over that of one class in C. No calibration: a bias of -ln(C - 1) has 1, no bias C / 2.
_PRIOR = 1.25
_MEANT = frozenset({"one-vs-rest", "multilabel", "multi-label"})


class OneHotRows(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#one-hot-targets."""

    rows: int = 32  # fewer may sum to 1 by chance


@rule("LOS012", "binary-loss-for-multiclass", level="warning", since="0.1")
def check(losses: LossCalls, declared: Declared, options: OneHotRows) -> Iterator[Finding]:
    """Binary cross-entropy on targets with exactly one class each.

    ## What it does
    Reports a binary cross-entropy over more than two outputs whose targets are one-hot: every row holds a single 1 (with rows
    of zeros among them, as the background of a detector, the outputs are independent). One classifier for each class is taken to be
    meant where the positives have a weight (`pos_weight`), and where the outputs start at the share that a class has, as a bias of
    -ln(C - 1) makes them. Declare the trait `one-vs-rest` (or
    the task `multilabel`) where independent classifiers are meant.

    ## Why is this bad?
    Each output is trained alone, against mostly negatives, and nothing tells the net that the classes exclude each other.
    Cross-entropy uses that and its gradient does not drown in the C - 1 negatives of every sample.

    ## Example
        loss = nn.BCEWithLogitsLoss()(logits, F.one_hot(labels, 10).float())

    ## Use instead
        loss = nn.CrossEntropyLoss()(logits, labels)

    ## References
    - PyTorch: `torch.nn.CrossEntropyLoss`
    """
    losses.require_targets()
    if declared.traits & _MEANT or declared.task in _MEANT:
        return
    seen: set[str] = set()
    for call in losses.of(*BINARY_LOSSES):
        rows = target_rows(call)
        if rows is None or rows.classes <= 2 or rows.rows < options.rows or not rows.one_hot or call.label in seen:
            continue
        if rows.empty:  # a detector's background: rows may well hold no class, so the outputs are independent
            continue
        if "pos_weight" in call.others or _starts_at_prior(call, rows.classes):
            continue
        seen.add(call.label)
        yield Finding(
            at=call,
            message=f"{call.label} is given one-hot targets: each of {rows.rows} rows holds one of {rows.classes} classes",
            evidence={"rows": rows.rows, "classes": rows.classes, "limit": options.rows},
            fix="use cross_entropy on the logits (no sigmoid) with class indices; declare one-vs-rest if independent outputs are meant",
        )


def _starts_at_prior(call: MeasuredLoss, classes: int) -> bool:
    """Whether the mean probability is that of one class in so many: a head that is built for one against the rest, or trained."""
    values = call.prediction_value
    if values is None:
        return False
    shares = values.double() if call.kind == "binary_cross_entropy" else values.double().sigmoid()
    return float(shares.mean()) < _PRIOR / classes
