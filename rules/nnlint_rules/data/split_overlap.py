"""DAT011: samples that are in the training and in the validation data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, Skip, rule
from nnlint_rules.data._labels import BATCHES
from nnlint_rules.data._samples import hashes

if TYPE_CHECKING:
    from nnlint import Batch


class SplitOverlap(Options):
    """No calibration: every shared sample is reported; the share only tells an error from a warning."""

    share: float = Field(0.02, description="share of the validation samples from which on it is an error")


@rule("DAT011", "split-overlap", level="error", since="0.1")
def check(batch: Batch, options: SplitOverlap) -> Iterator[Finding]:
    """Validation samples that are in the training data as well.

    ## What it does
    Compares the samples of up to 16 batches of the validation data with those of up to 16 batches of the training data, bit by
    bit. From 2 % of the validation samples on it is an error; fewer (a few duplicates in the source) are a warning. Large or
    shuffled data is seen in part, so the number is a lower bound.

    ## Why is this bad?
    The validation score measures how well those samples were memorized. Overfitting does not show, and the model that is kept
    is the wrong one.

    ## Example
        train = DataLoader(dataset, shuffle=True)
        val = DataLoader(dataset)

    ## Use instead
        train_set, val_set = random_split(dataset, [0.9, 0.1], generator=torch.Generator().manual_seed(0))

    ## References
    - Kaufman, Rosset, Perlich and Stitelman: Leakage in Data Mining, 2012
    - PyTorch: `torch.utils.data.random_split`
    """
    validation = batch.val_batches(BATCHES)
    if not validation:
        raise Skip("needs validation data that can be read again")
    batch.require_real()
    held = [key for one in validation for key in hashes(one)]
    if not held:
        raise Skip("needs samples that can be told apart: these have fewer than 8 entries, or only flags and small counts")
    seen = {key for one in batch.batches(BATCHES) for key in hashes(one)}
    shared = sum(key in seen for key in held)
    if not shared:
        return
    share = shared / len(held)
    yield Finding(
        at=batch,
        level=None if share >= options.share else Level.WARNING,
        message=f"{shared} of {len(held)} validation samples ({share:.1%}) are among the {len(seen)} training samples that were looked at",
        evidence={
            "shared": shared,
            "validation_samples": len(held),
            "training_samples": len(seen),
            "limit": options.share,
        },
        fix="split once, before any shuffling or augmentation, and by subject where several samples come from one; drop duplicates first",
    )
