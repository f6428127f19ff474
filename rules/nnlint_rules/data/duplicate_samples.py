"""DAT006: the same sample more than once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule
from nnlint_rules.data._samples import hashes

if TYPE_CHECKING:
    from nnlint import Batch


@rule("DAT006", "duplicate-samples", level="info", since="0.1")
def check(batch: Batch) -> Iterator[Finding]:
    """Identical samples in one batch.

    ## What it does
    Compares the samples of the batch bit by bit. Identical ones are an info, and a warning where their targets differ. Samples
    of fewer than 8 entries, and tables of flags and small counts, repeat by chance and are not compared.

    ## Why is this bad?
    A sample that comes twice counts twice, and may sit in the training and the validation data at once. With two different
    targets it cannot be learned at all.

    ## Example
        dataset = ConcatDataset([scans, scans_rescaled_to_the_same_size])

    ## Use instead
        dataset = scans                                    # after dropping duplicates by a hash of the sample

    ## References
    - Barz and Denzler: Do we train on test data? Purging CIFAR of near-duplicates, 2020, arXiv:1902.00423
    """
    batch.require_real()
    groups: dict[int, list[int]] = defaultdict(list)
    for index, key in enumerate(hashes(batch)):
        groups[key].append(index)
    repeated = [group for group in groups.values() if len(group) > 1]
    if not repeated:
        return
    conflicting = [group for group in repeated if _differ(group, batch)]
    count = sum(len(group) - 1 for group in repeated)
    example = " and ".join(map(str, (conflicting or repeated)[0][:2]))
    contradiction = f", {len(conflicting)} of them with different targets" if conflicting else ""
    yield Finding(
        at=batch,
        level=Level.WARNING if conflicting else None,
        message=f"{count} of {batch.samples} samples are copies of another{contradiction} (samples {example})",
        evidence={"copies": count, "conflicting": len(conflicting), "groups": [list(group) for group in repeated[:20]]},
        fix="drop duplicates before the data is split; settle which of the targets is right where they differ",
    )


def _differ(group: list[int], batch: Batch) -> bool:
    if batch.targets_assumed:
        return False
    targets = [view.by_sample for view in batch.targets if view.shape and view.samples == batch.samples]
    return any(bool((target[group] != target[group[0]]).any()) for target in targets)
