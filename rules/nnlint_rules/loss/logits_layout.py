"""LOS023: the classes of a cross-entropy in the wrong dimension."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule
from nnlint.kinds import CLASS_LOSSES

if TYPE_CHECKING:
    from nnlint import LossCalls, MeasuredLoss, Op

_MOVING = ("transpose", "permute", "movedim", "moveaxis", "swapaxes", "swapdims", "t", "T", "mT", "H", "mH", "rot90")
_TOLERANCE, _SHARE = 0.01, 0.9  # rows that sum to 1 are distributions; padding rows may be zero
_KEEPING = ("cast", "identity", "dropout", "log-softmax", "clamp")


@rule("LOS023", "logits-layout", level="error", since="0.1")
def check(losses: LossCalls) -> Iterator[Finding]:
    """Cross-entropy that takes the classes from the wrong dimension.

    ## What it does
    Reports predictions of three or more dimensions whose last dimension is the units of a linear layer, given to
    `cross_entropy` or `nll_loss`, which take dimension 1 for the classes. torch accepts that where the sizes agree (as many
    positions as classes, or targets that are distributions) and raises where they do not.

    ## Why is this bad?
    The softmax then runs over positions instead of classes: the loss falls, and what is learned is which position to choose.

    ## Example
        loss = F.cross_entropy(logits, labels)  # (N, T, C)

    ## Use instead
        loss = F.cross_entropy(logits.transpose(1, 2), labels)  # (N, C, T), or logits.flatten(0, 1), labels.flatten()

    ## References
    - PyTorch: `torch.nn.CrossEntropyLoss`, shapes: input (N, C, d1, ...)
    """
    if losses.targets_assumed:
        raise Skip("needs real targets; nnlint generated them")
    for call in losses.of(*CLASS_LOSSES):
        prediction = call.prediction
        if prediction is None or prediction.shape is None or len(prediction.shape) < 3:
            continue
        if "formula" in call.op.node.meta:
            continue  # written out: it says itself where its classes are
        layer = _units_last(prediction)
        if not _fits_last(call, certain=layer is not None):
            continue
        shape = prediction.shape
        yield Finding(
            at=layer or prediction,
            message=f"{call.label} gets logits of shape {shape} and reads dimension 1 ({shape[1]}) as the classes; "
            f"the classes are in the last ({shape[-1]})",
            evidence={"shape": list(shape), "target": list(call.target.shape or ()) if call.target is not None else []},
            fix="move the classes to dimension 1 (`logits.transpose(1, 2)` or `movedim(-1, 1)`), or flatten logits and labels to (N*T, C)",
        )


def _units_last(op: Op) -> Op | None:
    """The layer whose units are the last dimension of `op`.

    That is a linear layer with nothing moved or regrouped since, or a convolution whose channels were moved there.
    """
    while not op.is_kind("linear"):
        if op.name in ("permute", "movedim", "moveaxis", "transpose") and op.activations and _is_moved_last(op):
            return _convolution(op.activations[0])
        if op.name in _MOVING or not op.is_kind(*_KEEPING) or not op.activations:
            return None
        op = op.activations[0]
    return op


def _is_moved_last(op: Op) -> bool:
    """Whether dimension 1 becomes the last."""
    given = op.leading[1:] or (op.argument("dims"),)
    numbers = given[0] if len(given) == 1 and isinstance(given[0], (tuple, list)) else given
    last = len(op.shape or ()) - 1
    if op.name == "permute":
        return bool(numbers) and numbers[-1] == 1
    if len(numbers) != 2 or numbers[1] not in (-1, last, 1):
        return False
    return numbers[0] == 1 or (op.name == "transpose" and numbers[1] == 1 and numbers[0] in (-1, last))


def _convolution(op: Op) -> Op | None:
    while op.is_kind(*_KEEPING) and op.activations:
        op = op.activations[0]
    return op if op.is_kind("conv") else None


def _fits_last(call: MeasuredLoss, *, certain: bool) -> bool:
    """Whether the targets say that the classes are last; `certain`: the layer says so where they fit both ways."""
    prediction = call.prediction.shape if call.prediction is not None else None
    target = call.target.shape if call.target is not None else None
    if not prediction or not target:
        return False
    if target == prediction:
        return certain and _sums_to_one(call, -1) and not _sums_to_one(call, 1)
    fits_second = (prediction[0], *prediction[2:]) == target
    return prediction[:-1] == target and (certain or not fits_second)


def _sums_to_one(call: MeasuredLoss, dim: int) -> bool:
    values = call.target_value
    if values is None or not values.is_floating_point():
        return False
    return bool(((values.double().sum(dim) - 1).abs() < _TOLERANCE).double().mean() > _SHARE)
