"""LOS010: far more logits than classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Options, rule
from nnlint.kinds import CLASS_LOSSES
from nnlint_rules.loss._heads import class_count, counted_targets, last_layer

if TYPE_CHECKING:
    from nnlint import Batch, Declared, LossCalls, MeasuredLoss


#: Share of the first class numbers that are seen, where they are all there is.
_FILLED = 0.5


class UnusedClasses(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#unused-classes."""

    times: float = 10.0  # logits, in multiples of the classes seen
    samples: int = 256  # labels needed before classes that were not seen mean anything
    few: int = 16  # labels needed where all of them are among the first classes: chance would not put them there
    times_few: float = 50.0  # logits, in multiples of those first classes
    repeats: float = 8.0  # labels for each class seen: below it more classes would turn up with more labels
    batches: int = 8  # of the training data that are read for labels


@rule("LOS010", "unused-classes", level="info", since="0.1")
def check(losses: LossCalls, batch: Batch, declared: Declared, options: UnusedClasses) -> Iterator[Finding]:
    """Far more logits than classes in the data.

    ## What it does
    Compares the number of logits of a classification loss with the declared `num_classes`, or with the classes seen in at
    least 256 labels when each of them was seen often; or in 16 labels, where all of them are numbers from the first fiftieth of the
    logits, several and with few gaps. A vocabulary (the classes are the rows of an embedding) is left alone.

    ## Why is this bad?
    The head of another task was kept (1000 ImageNet logits for 10 classes). It learns to ignore the surplus, but the initial
    loss is ln 1000 instead of ln 10, the extra weights cost memory, and predictions outside the classes are possible.

    ## Example
        model = resnet18()  # 1000 logits, 10 classes

    ## Use instead
        model = resnet18(num_classes=10)

    ## References
    - PyTorch: Finetuning torchvision models
    """
    losses.require_targets()
    for call in losses.of(*CLASS_LOSSES):
        classes, labels = class_count(call), counted_targets(call)
        if call.prediction is None or classes is None or labels is None or _is_vocabulary(losses, classes):
            continue
        wanted = declared.num_classes
        reason = f"{wanted} classes are declared"
        values, count = _seen(call, batch, options)
        if wanted is None and _is_surplus(len(values), count, classes, options):
            wanted, reason = len(values), f"{count} labels hold {len(values)} classes"
        elif wanted is None and _are_first(values, count, classes, options):
            wanted, reason = max(values) + 1, f"the {count} labels are all below {max(values) + 1}"
        if wanted is None or wanted >= classes:
            continue
        layer = last_layer(losses.graph, call.prediction)
        yield Finding(
            at=layer,
            message=f"{layer.label} gives {classes} logits to {call.label}, but {reason}",
            evidence={"logits": classes, "classes": wanted, "labels": count, "limit": options.times},
            fix=f"give the last layer {wanted} outputs (num_classes={wanted})",
        )


def _is_surplus(seen: int, count: int, classes: int, options: UnusedClasses) -> bool:
    enough = count >= options.samples and count >= options.repeats * seen
    return seen > 0 and enough and classes >= options.times * seen


def _are_first(values: set[int], count: int, classes: int, options: UnusedClasses) -> bool:
    """Whether the labels fill the first class numbers: drawn from all classes, not even sixteen of them would be there by chance."""
    width = max(values, default=-1) + 1
    return count >= options.few and 2 <= width <= classes / options.times_few and len(values) >= _FILLED * width


def _is_vocabulary(losses: LossCalls, classes: int) -> bool:
    for op in losses.graph.calls("embedding"):
        table = next((source for source in op.inputs if source.is_kind("parameter")), None)
        if table is not None and table.shape and table.shape[0] == classes:
            return True
    return False


def _seen(call: MeasuredLoss, batch: Batch, options: UnusedClasses) -> tuple[set[int], int]:
    """Distinct labels, and how many labels: of the loss call itself, or of more batches where these are too few."""
    labels = counted_targets(call)
    own = {int(label) for label in labels.unique().tolist()}
    if labels.numel() >= options.samples or len(batch.targets) != 1:
        return own, int(labels.numel())
    ignored = call.argument("ignore_index", -100)
    values: set[int] = set()
    count = 0
    for more in batch.batches(options.batches):
        for target in more.targets[:1]:
            if target.is_integer:
                counted = target.tensor[target.tensor != ignored]
                values |= {int(label) for label in counted.unique().tolist()}
                count += counted.numel()
    return (values, count) if count > labels.numel() else (own, int(labels.numel()))
