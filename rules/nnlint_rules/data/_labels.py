"""Class labels of the data, batch by batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from nnlint import Batch

#: Batches that the data rules read; the same number in all of them, since each is read once.
BATCHES = 16


def class_labels(targets: Tensor) -> Tensor | None:
    """Class indices, one for each sample: integers of shape (N,) or (N, 1), or floats that are all 0 or 1; else None."""
    flat = targets.reshape(-1) if targets.dim() == 2 and targets.shape[1] == 1 else targets
    if flat.dim() != 1 or flat.is_complex() or not flat.numel():
        return None
    if flat.is_floating_point() and not bool(((flat == 0) | (flat == 1)).all()):
        return None
    return flat.long()


def batch_labels(batch: Batch) -> list[Tensor]:
    """The class labels of each batch of the data; empty where the targets are no class labels, or one for each position."""
    found = []
    for one in batch.batches(BATCHES):
        labels = class_labels(one.targets[0].tensor) if len(one.targets) == 1 else None
        if labels is None or one.samples not in (0, labels.numel()):
            return []
        found.append(labels)
    return found


def counts(labels: Tensor) -> Mapping[int, int]:
    """How many samples each class that occurs has."""
    classes, sizes = labels.unique(return_counts=True)
    return dict(zip(classes.tolist(), sizes.tolist(), strict=True))
