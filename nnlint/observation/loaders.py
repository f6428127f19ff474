"""The script's loaders for the data rules: read anew without workers, and without touching a pass that is going on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler

from nnlint.observation.content import value_contents
from nnlint.observation.journal import Draft


def fresh(loader: DataLoader[Any]) -> DataLoader[Any] | None:
    """A loader over the same dataset that makes batches as this one does.

    None where the order is made by the script's own sampler, or the dataset is a stream: reading them would advance them.
    """
    if isinstance(loader.dataset, IterableDataset) or loader.batch_size is None:
        return None
    if not isinstance(loader.sampler, (RandomSampler, SequentialSampler)):
        return None
    return DataLoader(
        loader.dataset,
        batch_size=loader.batch_size,
        shuffle=isinstance(loader.sampler, RandomSampler),
        collate_fn=loader.collate_fn,
        drop_last=loader.drop_last,
    )


def are_targets_read(reads: Iterable[Draft], targets: Sequence[Tensor]) -> bool:
    """Whether a tensor of some batch is what the loss compares with, as it is or encoded otherwise (one-hot).

    A GAN that reads labelled images has targets of its own: what its loader gives as labels says nothing about them. True where
    there is nothing to compare: no targets, or batches of one tensor.
    """
    given = [other for read in reads for other in read.fields["others"] if other]
    if not given or not targets:
        return True
    for own in given:
        compared = [value_contents(target, len(own)) for target in targets]
        if any(not target or _encodes(own, target) for target in compared):  # too large, or the same
            return True
        if all(target == own for target in compared):  # constant ones; where only one of several is, it is so by chance
            return True
    return False


def _encodes(own: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether each label stands for one target and each target for one label, and there are several."""
    pairs = len(set(zip(own, target, strict=True)))
    return 1 < pairs == len(set(own)) == len(set(target))
