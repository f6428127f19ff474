"""LOS026: class indices where vectors are meant, or the reverse, accepted by torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint_rules.loss._targets import target_rows

if TYPE_CHECKING:
    from nnlint import Evidence, LossCalls, LossResponse, MeasuredLoss

_SIGNS = ("hinge_embedding_loss", "cosine_embedding_loss", "margin_ranking_loss", "soft_margin_loss")


@rule("LOS026", "one-hot-index-confusion", level="error", since="0.1")
def check(losses: LossCalls, response: LossResponse | None) -> Iterator[Finding]:
    """Targets in a form that torch accepts and takes for another.

    ## What it does
    Reports labels of 0 and 1 in a loss that expects -1 and 1 (hinge, cosine embedding, ranking), whoever wrote it: the outputs of
    samples with the label 0 get no gradient, whatever they are, and would get one for the label -1. Reports `cross_entropy` on
    a one-dimensional prediction of the whole batch with float targets (taken as one distribution over the samples), float targets
    that hold class indices (whole numbers above 1) where distributions are meant, and 0/1 rows given to
    `multilabel_margin_loss`, which takes lists of class indices.

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
            message="the loss expects the labels -1 and 1 but gets 0 and 1: the samples of label 0, "
            f"{response.unheard:.0%} of all, have no gradient",
            evidence={"share": response.unheard},
            fix="give the loss `2 * labels - 1`",
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
