"""LOS013: several labels at once through a softmax."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Options, rule
from nnlint_rules.loss._heads import heads_of
from nnlint_rules.loss._products import written_out
from nnlint_rules.loss._targets import TargetRows, target_rows

if TYPE_CHECKING:
    from nnlint import Batch, LossCalls, MeasuredLoss, Op


class MultiHot(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#multi-hot-targets."""

    share: float = 0.05  # of the rows that do not sum to 1 before the rule speaks


@rule("LOS013", "softmax-for-multilabel", level="error", since="0.1")
def check(losses: LossCalls, batch: Batch | None, options: MultiHot) -> Iterator[Finding]:
    """Multi-hot targets through a softmax.

    ## What it does
    Reports targets whose rows hold several classes (the rows do not sum to 1) given to cross-entropy, or compared with the
    output of a softmax. Soft labels, label smoothing and mixup sum to 1 and pass, and so do rows of zeros. A sum of targets times
    log-softmax that is written out is a warning, and passes where it may be meant: every row holds as many classes as the next
    (the words around a word), the targets are read again (to divide by how many there are), or complete a set among the inputs.

    ## Why is this bad?
    A softmax shares a probability of 1 among the classes. Two labels that are both true cannot both be predicted, and the loss
    cannot fall to 0; the number of labels of a sample becomes its weight.

    ## Example
        loss = nn.CrossEntropyLoss()(logits, multi_hot)

    ## Use instead
        loss = nn.BCEWithLogitsLoss()(logits, multi_hot)

    ## References
    - PyTorch: `torch.nn.BCEWithLogitsLoss`
    """
    losses.require_targets()
    for call in losses.of("cross_entropy", "binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss"):
        rows = target_rows(call) if call.kind == "cross_entropy" or _after_softmax(losses, call) else None
        if rows is not None and _several(rows, options) and _is_multi_hot(call, rows):
            yield _finding(call, rows, options)
    for product in written_out(losses, batch) if batch is not None else ():
        rows = product.rows
        meant = product.is_set or rows.smallest_sum == rows.largest_sum
        if rows.binary and not meant and _several(rows, options):
            yield _finding(product.op, rows, options, Level.WARNING)


def _several(rows: TargetRows, options: MultiHot) -> bool:
    return rows.classes >= 2 and 1 - rows.sum_to_one > options.share


def _finding(at: MeasuredLoss | Op, rows: TargetRows, options: MultiHot, level: Level | None = None) -> Finding:
    share = 1 - rows.sum_to_one
    return Finding(
        at=at,
        level=level,
        message=f"{share:.0%} of the targets of {at.label} do not sum to 1 (up to {rows.largest_sum:g} classes in a row; "
        f"limit {options.share:.0%}): a softmax cannot predict several classes at once",
        evidence={"share": share, "largest_sum": rows.largest_sum, "classes": rows.classes, "limit": options.share},
        fix="use binary_cross_entropy_with_logits on the logits, without softmax; divide rows by their sum if they are proportions",
    )


def _is_multi_hot(call: MeasuredLoss, rows: TargetRows) -> bool:
    """Whether the rows are sets of classes; whole numbers above 1 are indices in the wrong form (LOS026)."""
    if rows.integral:
        return rows.binary
    return call.kind == "cross_entropy"


def _after_softmax(losses: LossCalls, call: MeasuredLoss) -> bool:
    if call.prediction is None:
        return False
    return any(head.is_kind("softmax") for head in heads_of(losses.graph, call.prediction))
