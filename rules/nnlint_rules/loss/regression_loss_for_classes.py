"""LOS014: a regression loss on class labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Options, rule
from nnlint_rules.loss._targets import target_rows

if TYPE_CHECKING:
    from nnlint import Declared, LossCalls, MeasuredLoss

_LOSSES = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
_REGRESSION = frozenset({"regression", "ordinal", "autoencoder", "reconstruction"})


class ClassLabels(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#class-labels."""

    distinct: int = 100  # integer targets with more values than this are counts or amounts
    rows: int = 16  # one-hot rows needed


@rule("LOS014", "regression-loss-for-classes", level="warning", since="0.1")
def check(losses: LossCalls, declared: Declared, options: ClassLabels) -> Iterator[Finding]:
    """Squared or absolute error on class labels.

    ## What it does
    Reports mse, l1, smooth l1 and huber losses whose targets are integer labels running from 0, or one-hot rows. Targets given
    as floats (ordinal scales, measurements) and targets of the shape of the input (autoencoders) are left alone, and so is
    everything when the task is declared as regression.

    ## Why is this bad?
    Class 9 is not nine times class 1. Squared error makes neighbours of labels that have nothing in common, and on one-hot rows
    its gradient vanishes where the net is confidently wrong.

    ## Example
        loss = F.mse_loss(model(x).squeeze(1), labels)

    ## Use instead
        loss = F.cross_entropy(model(x), labels)  # one logit for each class

    ## References
    - PyTorch: `torch.nn.CrossEntropyLoss`
    """
    losses.require_targets()
    if declared.task in _REGRESSION or declared.traits & _REGRESSION:
        return
    inputs = {op.shape for op in losses.graph.inputs}
    for call in losses.of(*_LOSSES):
        if call.target is None or call.target.shape in inputs:
            continue
        what = _labels(call, options) or _one_hot(call, options)
        if what is None:
            continue
        yield Finding(
            at=call,
            message=f"{call.label} is given {what}: distances between class numbers mean nothing",
            evidence={"targets": what},
            fix="use cross_entropy with one logit for each class; pass the targets as floats (y.float()) if they are quantities",
            confidence="medium",
        )


def _labels(call: MeasuredLoss, options: ClassLabels) -> str | None:
    import torch

    values = call.target_value
    if values is None or values.is_floating_point() or values.dtype is torch.bool or values.numel() < 2:
        return None
    distinct = values.unique()
    low, high = int(distinct.min()), int(distinct.max())
    if low not in (0, 1) or len(distinct) < 2 or high > options.distinct or len(distinct) < (high - low + 1) / 2:
        return None
    return f"integer labels from {low} to {high}"


def _one_hot(call: MeasuredLoss, options: ClassLabels) -> str | None:
    rows = target_rows(call)
    if rows is None or rows.classes < 2 or rows.rows < options.rows or not rows.one_hot:
        return None
    return f"one-hot rows of {rows.classes} classes"
