"""LOS026: class indices where vectors are meant, or the reverse, accepted by torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint.kinds import SHAPE_ONLY
from nnlint_rules.loss._sinks import loss_path
from nnlint_rules.loss._targets import rows_of, target_rows

if TYPE_CHECKING:
    from nnlint import Batch, BatchTensor, Evidence, LossCalls, LossResponse, MeasuredLoss, Op
    from nnlint_rules.loss._targets import TargetRows

_SIGNS = ("hinge_embedding_loss", "cosine_embedding_loss", "margin_ranking_loss", "soft_margin_loss")


@rule("LOS026", "one-hot-index-confusion", level="error", since="0.1")
def check(losses: LossCalls, response: LossResponse | None, batch: Batch | None) -> Iterator[Finding]:
    """Targets in a form that torch accepts and takes for another.

    ## What it does
    Reports labels of 0 and 1 in a loss that expects -1 and 1 (hinge, cosine embedding, ranking), whoever wrote it: the outputs of
    samples with the label 0 get no gradient, whatever they are, and would get one for the label -1. Reports `cross_entropy` on
    a one-dimensional prediction of the whole batch with float targets (taken as one distribution over the samples), float targets
    that hold class indices (whole numbers above 1) where distributions are meant, one-hot rows that pick log-probabilities as if
    they were class indices, and 0/1 rows given to `multilabel_margin_loss`, which takes lists of class indices.

    ## Why is this bad?
    torch computes something, without an error: a softmax over the samples of the batch, or targets of class 7 taken for a
    probability of 7.

    ## Example
        F.cross_entropy(logits.squeeze(1), y.float())  # (N,) and (N,)

    ## Use instead
        F.binary_cross_entropy_with_logits(logits.squeeze(1), y.float())

    ## References
    - PyTorch: `torch.nn.CrossEntropyLoss`, target: class indices or class probabilities
    - PyTorch: `torch.nn.MultiLabelMarginLoss`
    """
    losses.require_targets()
    samples = next((op.shape[0] for op in losses.graph.inputs if op.shape), None)
    signs = [call for call in losses.of(*_SIGNS) if _is_of_bits(call)]
    for call in signs:
        yield Finding(
            at=call,
            message=f"{call.label} expects the labels -1 and 1 but gets 0 and 1: no row of it is a pair that differs",
            evidence={"labels": [0, 1]},
            fix="give the loss `2 * labels - 1`",
        )
    if response is not None and response.unheard is not None and not signs:
        yield Finding(
            at=response,
            message="the loss expects the labels -1 and 1 but gets 0 and 1: the outputs for label 0, "
            f"{response.unheard:.0%} of all, have no gradient",
            evidence={"share": response.unheard},
            fix="give the loss `2 * labels - 1`",
        )
    for op, classes in _picked_by_rows(losses, batch) if batch is not None else ():
        yield Finding(
            at=op,
            message=f"{op.label} takes one-hot rows of {classes} classes for class indices: it picks entries 0 and 1 of every row",
            evidence={"classes": classes},
            fix="give class indices, `targets.argmax(1, keepdim=True)`, or multiply the rows with the log-probabilities",
        )
    for call in losses.of("cross_entropy", "multilabel_margin_loss"):
        found = _margin_rows(call) if call.kind == "multilabel_margin_loss" else _flat(call, samples) or _indices(call)
        if found is None:
            continue
        message, fix = found
        yield Finding(at=call, message=f"{call.label}: {message}", evidence={"shape": _shape(call)}, fix=fix)


def _is_of_bits(call: MeasuredLoss) -> bool:
    target = call.target_value
    return target is not None and set(target.unique().tolist()) == {0, 1}


def _shape(call: MeasuredLoss) -> list[Evidence]:
    return [*call.prediction_value.shape] if call.prediction_value is not None else []


def _flat(call: MeasuredLoss, samples: int | None) -> tuple[str, str] | None:
    prediction, target = call.prediction_value, call.target_value
    if prediction is None or target is None or not target.is_floating_point():
        return None
    if prediction.dim() != 1 or prediction.shape != target.shape or len(target) != samples or samples < 2:
        return None
    return (
        f"a prediction and float targets of shape ({samples},) are taken as one distribution over the {samples} samples",
        "use binary_cross_entropy_with_logits for one logit a sample, or (N, C) logits and integer labels",
    )


def _indices(call: MeasuredLoss) -> tuple[str, str] | None:
    rows = target_rows(call)
    if rows is None or call.target_value is None or not call.target_value.is_floating_point():
        return None
    if not rows.integral or rows.highest <= 1:
        return None
    return (
        f"float targets with values up to {rows.highest:g} are taken for probabilities; they look like class indices",
        "give class indices as integers of shape (N, ...) without the class dimension (`targets.long()`)",
    )


def _picked_by_rows(losses: LossCalls, batch: Batch) -> Iterator[tuple[Op, int]]:
    """Where rows of class values are picked from with one-hot rows as the indices; with the number of classes."""
    hot = {view.shape: rows for view in batch.targets if (rows := _one_hot(view)) is not None}
    path = loss_path(losses)
    for op in losses.graph.calls("gather", "take_along_dim"):
        index = op.inputs[1] if len(op.inputs) == 2 and op in path else None
        if index is None or op.inputs[0].shape != index.shape or index.shape not in hot:
            continue
        if losses.graph.producer(index, through=SHAPE_ONLY | {"integer-cast"}).is_kind("input"):
            yield op, hot[index.shape].classes


def _one_hot(view: BatchTensor) -> TargetRows | None:
    if view.is_floating or not view.is_dense or view.tensor.dim() < 2 or not view.tensor.numel():
        return None
    rows = rows_of(view.tensor, view.tensor.dim() - 1)
    return rows if rows is not None and rows.one_hot and not rows.empty and rows.classes > 1 else None


def _margin_rows(call: MeasuredLoss) -> tuple[str, str] | None:
    target = call.target_value
    if target is None or target.dim() != 2 or target.shape[1] < 3 or len(target) < 2:
        return None
    if not bool(((target == 0) | (target == 1)).all()) or not bool((target.sum(1) != 0).any()):
        return None
    return (
        "rows of zeros and ones are taken for lists of class indices (ended by -1)",
        "give the indices of the true classes, padded with -1, or use multilabel_soft_margin_loss",
    )
