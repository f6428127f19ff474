"""DAT004: classes of very different size, all weighted the same."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, Skip, rule
from nnlint_rules.data._labels import batch_labels, class_labels, counts

if TYPE_CHECKING:
    from torch import Tensor

    from nnlint import Batch, Graph, LossResponse

#: No calibration: unweighted losses give all decisions the same weight, up to rounding.
_HEAVIER = 1.5


class ClassImbalance(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#class-imbalance."""

    ratio: float = Field(10.0, description="largest class over smallest")
    samples: int = Field(100, description="samples needed to judge")


@rule("DAT004", "class-imbalance", level="warning", since="0.1")
def check(
    batch: Batch, graph: Graph, response: LossResponse | None, options: ClassImbalance
) -> Iterator[Finding]:
    """The largest class has more than ten times the samples of the smallest, and the loss does not know.

    ## What it does
    Counts the class labels in up to 16 batches, or in the whole dataset where its labels are at hand, and reports a ratio above
    10 between the largest and the smallest class that occurs; the smallest is given the benefit of two standard deviations.
    Silent with class weights in the loss (`weight`, `pos_weight`, or measured where it is written out), with targets for each
    position (also in one row, as the words of a text), and below 100 samples; ignored labels do not
    count. A sampler that balances the classes is seen through the batches it gives.

    ## Why is this bad?
    Always answering with the largest class is a good answer to the loss. Accuracy looks high from the start, and the small
    classes are learned late or never.

    ## Example
        loss = nn.CrossEntropyLoss()                              # 95 % of the labels are 0

    ## Use instead
        weight = len(labels) / (classes * torch.bincount(labels))
        loss = nn.CrossEntropyLoss(weight=weight)                 # or a WeightedRandomSampler

    ## References
    - PyTorch: `torch.nn.CrossEntropyLoss` (weight), `torch.utils.data.WeightedRandomSampler`
    - Japkowicz and Stephen: The class imbalance problem, 2002
    """
    batch.require_real_targets()
    labels = _labels(batch)
    if labels is None:
        return
    for call in graph.loss_calls:
        ignored = call.argument("ignore_index")
        labels = labels[labels != ignored] if isinstance(ignored, int) else labels
    if labels.numel() < options.samples:
        raise Skip(
            f"needs {options.samples} labels, got {labels.numel()}"
        )
    if any(call.argument(name) is not None for call in graph.loss_calls for name in ("weight", "pos_weight")):
        return
    sizes = counts(labels)
    largest, smallest = max(sizes, key=lambda label: sizes[label]), min(sizes, key=lambda label: sizes[label])
    expected = sizes[smallest] + 2.0 * math.sqrt(sizes[smallest]) + 1.0
    if sizes[largest] / expected <= options.ratio:
        return
    if response is not None and _are_weighted(response, largest, smallest):
        return
    total = labels.numel()
    weights = {label: round(total / (len(sizes) * size), 3) for label, size in sorted(sizes.items())}
    shown = ", ".join(f"{weight:g}" for weight in list(weights.values())[:10]) + (", ..." if len(weights) > 10 else "")
    yield Finding(
        at=batch,
        message=f"class {largest} has {sizes[largest]} of {total} labels and class {smallest} has {sizes[smallest]} "
        f"({sizes[largest] / sizes[smallest]:.0f} to 1; limit {options.ratio:g}), and the loss weights them the same",
        evidence={
            "ratio": sizes[largest] / sizes[smallest],
            "limit": options.ratio,
            "samples": total,
            "counts": {str(label): size for label, size in sorted(sizes.items())[:100]},
        },
        fix=f"weight the classes in the loss (weight=torch.tensor([{shown}])), or draw them evenly with a WeightedRandomSampler; "
        "and look at recall for each class, not at accuracy",
    )


def _are_weighted(response: LossResponse, largest: int, smallest: int) -> bool:
    """Whether the loss gives a decision of the smallest class clearly more weight than one of the largest."""
    weights = {int(found.label): found.weight for found in response.weights}
    return weights.get(smallest, 0.0) > _HEAVIER * weights.get(largest, math.inf)


def _labels(batch: Batch) -> Tensor | None:
    import torch

    found = batch_labels(batch)
    if not found:
        return None
    # A shuffled loader may draw by weights of its own: what it gives is what is trained on.
    held = batch.dataset_targets if not batch.shuffled else None
    whole = class_labels(held) if held is not None else None
    drawn = torch.cat(found)
    return whole if whole is not None and whole.numel() > drawn.numel() else drawn
