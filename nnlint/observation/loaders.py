"""The script's loaders for the data rules: read anew without workers, and without touching a pass that is going on."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler


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
