"""STP015: training reads sorted data in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from math import comb
from typing import TYPE_CHECKING

from nnlint import Finding, Place, Skip, rule

if TYPE_CHECKING:
    from nnlint import LoaderFacts, Loaders, Read

#: Batches, and samples in them, that must be in order.
_BATCHES = 3
_SAMPLES = 16
#: Probability of the observed order in shuffled data below which it is no accident.
_CHANCE = 1e-6


@rule("STP015", "loader-not-shuffled", level="warning", since="0.1")
def check(loaders: Loaders) -> Iterator[Finding]:
    """The training loader reads its dataset in order, and the labels are sorted.

    ## What it does
    Looks at the integer labels of successive batches of a training loader without shuffling. Reports labels that only rise (or
    only fall) over all batches, batches of one class each, and batches that are all of one class although the dataset has others.
    Data in order whose labels are mixed, time series without class labels, iterable datasets and the script's own samplers are not
    reported.

    ## Why is this bad?
    Each batch pulls the network to one class, and the next one to another: the loss of a batch looks good just before the class
    changes, and what was learned first is forgotten. Batch norm sees the statistics of one class.

    ## Example
        loader = DataLoader(ImageFolder(root), batch_size=64)

    ## Use instead
        loader = DataLoader(ImageFolder(root), batch_size=64, shuffle=True)

    ## References
    - Bengio (2012), "Practical recommendations for gradient-based training of deep architectures", section 3.1.2
    """
    if not loaders.training:
        raise Skip("no batch of a DataLoader was trained on")
    for loader in loaders.training:
        if loader.shuffled is not False or loader.batches == 1:
            continue
        reads = [read for read in loaders.reads_of(loader.name) if read.pass_ == 1]
        labels = [label for read in reads for label in read.labels]
        if len(reads) < _BATCHES or len(labels) < _SAMPLES:
            continue
        said = _order(reads, labels, loader)
        if said is not None:
            yield Finding(
                at=Place("", loader.location),
                message=f"{loader.name} does not shuffle, and the labels of its first {len(reads)} batches {said}",
                evidence={"batches": len(reads), "samples": len(labels), "classes_seen": len(set(labels))},
                fix="pass `shuffle=True` to the training DataLoader",
            )


def _order(reads: list[Read], labels: list[int], loader: LoaderFacts) -> str | None:
    """What is wrong with the order of the labels."""
    classes = len(set(labels))
    if classes == 1:
        share = loader.label_shares.get(labels[0], 1.0)
        chance = share ** len(labels)
        return f"are all {labels[0]} (the dataset has {share:.0%} of them)" if chance < _CHANCE else None
    rises = all(one <= two for one, two in pairwise(labels))
    falls = all(one >= two for one, two in pairwise(labels))
    if (rises or falls) and 2 * classes <= len(labels) and _arrangements(labels) * _CHANCE >= 1:
        return f"are sorted ({labels[0]} to {labels[-1]})"
    # Two classes in equal parts are the likeliest to agree by accident.
    agreeing = sum(len(read.labels) - 1 for read in reads)
    if all(len(set(read.labels)) == 1 for read in reads) and 0.5**agreeing < _CHANCE:
        return "are one class in each batch"
    return None


def _arrangements(labels: list[int]) -> int:
    """In how many orders these labels can come: in mixed data, they are sorted by an accident of one in so many."""
    ways, placed = 1, 0
    for count in Counter(labels).values():
        placed += count
        ways *= comb(placed, count)
    return ways
