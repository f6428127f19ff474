"""LOS009: a label without a logit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint.kinds import CLASS_LOSSES
from nnlint_rules.loss._heads import class_count, counted_targets, last_layer

if TYPE_CHECKING:
    from nnlint import LossCalls

_LOSSES = (*CLASS_LOSSES, "multi_margin_loss")


@rule("LOS009", "too-few-classes", level="error", since="0.1")
def check(losses: LossCalls) -> Iterator[Finding]:
    """Labels that have no logit.

    ## What it does
    Compares the class indices that a classification loss is given with its number of logits: a label that is as large as
    that number, or negative and not `ignore_index`.

    ## Why is this bad?
    On a CPU torch raises. On a GPU it stops the process with a device-side assertion that names neither label nor layer, and
    with `reduction="none"` old versions read memory outside the tensor.

    ## Example
        head = nn.Linear(64, 10)  # labels 1 to 10

    ## Use instead
        loss = F.cross_entropy(head(x), labels - 1)  # or nn.Linear(64, 11)

    ## References
    - PyTorch: `torch.nn.CrossEntropyLoss`, target: class indices in [0, C)
    - https://github.com/pytorch/pytorch/issues/1204
    """
    losses.require_targets()
    for call in losses.of(*_LOSSES):
        labels, classes = counted_targets(call), class_count(call)
        if labels is None or classes is None or labels.numel() == 0 or call.prediction is None:
            continue
        low, high = int(labels.min()), int(labels.max())
        if low >= 0 and high < classes:
            continue
        bad = int(((labels < 0) | (labels >= classes)).sum())
        yield Finding(
            at=last_layer(losses.graph, call.prediction),
            message=f"{call.label} has {classes} logits and labels from {low} to {high}: {bad} of {labels.numel()} labels have no logit",
            evidence={"classes": classes, "lowest_label": low, "highest_label": high, "bad_labels": bad},
            fix=_fix(low, high, classes, call.argument("ignore_index", -100)),
        )


def _fix(low: int, high: int, classes: int, ignored: int) -> str:
    if low == 1 and high == classes:
        return "labels start at 1: subtract 1, so that they run from 0"
    if low < 0 <= high < classes:
        return f"set ignore_index={low} if {low} marks what must not count (it is {ignored}), or map it to a class"
    if high == 255:
        return "255 is what an image mask holds for white or void: map mask values to class indices, or set ignore_index=255"
    return f"give the last layer {high + 1} outputs, or map the labels to 0 ... {classes - 1}"
