"""DAT007: a loader that gives the classes one after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, Skip, rule
from nnlint_rules.data._labels import batch_labels, class_labels, counts

if TYPE_CHECKING:
    from torch import Tensor

    from nnlint import Batch


class SortedBatches(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#sorted-batches."""

    pure: float = Field(0.95, description="share of a batch's largest class from which on it counts as single-class")
    batches: float = Field(0.8, description="share of single-class batches")
    overall: float = Field(0.8, description="largest share that a class may have in the data as a whole")
    batch_size: int = Field(8, description="smallest batch that is judged")
    listed: int = Field(4, description="fewest batches of a list")


@rule("DAT007", "sorted-batches", level="warning", since="0.1")
def check(batch: Batch, options: SortedBatches) -> Iterator[Finding]:
    """Batches of a single class each, from data that has several.

    ## What it does
    Looks at the labels of up to 16 batches of a DataLoader that does not shuffle, and at the labels of the dataset as a whole: when
    most batches hold one class and the dataset does not, the data is sorted by class. So are lists of at least four batches.
    Iterable datasets and samplers of the user's own keep the order they were given for a reason and are not judged.

    ## Why is this bad?
    Each stretch of training teaches the model to answer with the class at hand and to forget the others; batch norm's running
    statistics are those of one class.

    ## Example
        loader = DataLoader(ImageFolder(root), batch_size=64)                  # folders are read one after another

    ## Use instead
        loader = DataLoader(ImageFolder(root), batch_size=64, shuffle=True)

    ## References
    - PyTorch: `torch.utils.data.DataLoader` (shuffle)
    """
    batch.require_real_targets()
    if batch.shuffled is None and not batch.listed:
        raise Skip("needs a DataLoader over an indexed dataset")
    labels = batch_labels(batch) if not batch.shuffled else []
    sized = [one for one in labels if one.numel() >= options.batch_size]
    if batch.listed and len(sized) < options.listed:
        raise Skip(f"needs {options.listed} batches, got {len(sized)}")
    whole = _whole(batch, sized)
    if whole is None:
        return
    pure = [one for one in sized if _largest_share(one) >= options.pure]
    if len(pure) < options.batches * len(sized) or _largest_share(whole) > options.overall:
        return
    yield Finding(
        at=batch,
        message=f"{len(pure)} of {len(sized)} batches hold a single class (first: {int(pure[0].mode().values)}), although the data "
        f"has {len(counts(whole))} and the largest has {_largest_share(whole):.0%} of it: "
        + ("the samples were sorted before they were batched" if batch.listed else "the loader does not shuffle sorted data"),
        evidence={"single_class_batches": len(pure), "batches": len(sized), "classes": len(counts(whole))},
        fix="shuffle the samples before they are cut into batches (torch.randperm), or use a DataLoader with shuffle=True"
        if batch.listed
        else "pass shuffle=True to the DataLoader of the training data",
    )


def _whole(batch: Batch, sized: list[Tensor]) -> Tensor | None:
    import torch

    if not sized:
        return None
    held = batch.dataset_targets
    labels = class_labels(held) if held is not None else None
    return labels if labels is not None else torch.cat(sized)


def _largest_share(labels: Tensor) -> float:
    return max(counts(labels).values()) / labels.numel()
