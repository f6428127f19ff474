"""LOS014: a regression loss on class labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Options, rule
from nnlint.kinds import DISTANCE_LOSSES
from nnlint_rules.loss._heads import last_layer
from nnlint_rules.loss._ordering import order_explains
from nnlint_rules.loss._targets import target_rows

if TYPE_CHECKING:
    from nnlint import Batch, Declared, Graph, LossCalls, LossResponse, MeasuredLoss

_REGRESSION = frozenset({"regression", "ordinal", "autoencoder", "reconstruction"})


class ClassLabels(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#class-labels."""

    distinct: int = 100  # integer targets with more values than this are counts or amounts
    rows: int = 16  # one-hot rows needed
    order: float = 1.5  # multiple of the share that the order of unordered classes explains by chance


@rule("LOS014", "regression-loss-for-classes", level="warning", since="0.1")
def check(
    losses: LossCalls, declared: Declared, batch: Batch | None, response: LossResponse | None, options: ClassLabels
) -> Iterator[Finding]:
    """Squared or absolute error on class labels.

    ## What it does
    Reports mse, l1, smooth l1 and huber losses whose targets are integer labels running from 0, or one-hot rows, and any other loss
    that is zero where outputs that are no probabilities equal the one-hot rows, and grows beyond them. Whole
    numbers given as floats are reported where the data say that they are no scale: the mean inputs of the classes differ, and
    not in the order of the numbers. Other floats (ordinal scales, measurements) and targets of the shape of the input
    (autoencoders) are left alone, and so is everything when the task is declared as regression.

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
    for call in losses.of(*DISTANCE_LOSSES):
        if call.target is None or call.target.shape in inputs:
            continue
        labels = _labels(call, options) or (_float_labels(call, batch, options) if batch is not None else None)
        rows = _one_hot(call, options) if labels is None else None
        if labels is not None or rows is not None:
            yield _finding(losses.graph, call, labels, rows)
            return
    rebuilt = batch is not None and any(view.tensor.shape in inputs for view in batch.targets)
    if response is not None and not rebuilt and _is_distance(response):
        yield Finding(
            at=response,
            message="the loss is a distance to one-hot rows: where the net is confidently wrong, its gradient says little",
            evidence={"targets": "one-hot rows"},
            fix="use cross_entropy on the logits; the rows may stay as they are, or become `y.argmax(1)`",
            confidence="medium",
        )


def _is_distance(response: LossResponse) -> bool:
    """Whether the loss of one-hot rows is zero for scores that are those rows, and grows where they are larger."""
    found = response.certainty
    if found is None or not found.one_hot or not (found.free or found.outside > 0) or response.shift_invariant:
        return False
    clear = 0.05 * (found.wrong - found.at)
    return found.wrong > 0 and abs(found.at) <= clear and found.beyond > found.at + clear


def _finding(graph: Graph, call: MeasuredLoss, labels: str | None, rows: str | None) -> Finding:
    if labels is not None:
        why = "distances between class numbers mean nothing"
        fix = "use cross_entropy with one logit for each class; declare the task as regression if the numbers are quantities"
    else:
        why = "where the net is confidently wrong, the gradient of the squares vanishes"
        fix = "use cross_entropy on the logits, without softmax; the rows may stay as they are, or become `y.argmax(1)`"
    # A loss module that is given as it is has no line of the user: the layer before it has.
    unplaced = call.location is None and call.prediction is not None
    return Finding(
        at=last_layer(graph, call.prediction) if unplaced and call.prediction is not None else call,
        message=f"{call.label} is given {labels or rows}: {why}",
        evidence={"targets": labels or rows},
        fix=fix,
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


def _float_labels(call: MeasuredLoss, batch: Batch, options: ClassLabels) -> str | None:
    """Whole numbers from 0 on as floats, of which the inputs know no order: the classes differ, and not along a line."""
    values = call.target_value
    if values is None or not values.is_floating_point() or values.dim() == 0 or values.numel() != len(values) or not len(values):
        return None
    flat = values.reshape(-1)
    distinct = flat.unique()
    high = float(distinct.max())
    if float(distinct.min()) != 0 or len(distinct) != high + 1 or not bool((distinct == distinct.round()).all()):
        return None
    explained = order_explains(batch, flat)
    if explained is None or explained > options.order / (len(distinct) - 1):
        return None
    return f"class numbers 0 to {high:g} as floats, whose order explains {explained:.0%} of how the inputs differ"


def _one_hot(call: MeasuredLoss, options: ClassLabels) -> str | None:
    rows = target_rows(call)
    if rows is None or rows.classes < 2 or rows.rows < options.rows or not rows.one_hot:
        return None
    return f"one-hot rows of {rows.classes} classes"
