"""What can be seen of the data behind a loader without reading it through: its order, and the targets of all its samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import data as torch_data

from nnlint.seeding import seeded
from nnlint.setup.training_setup import LABEL_KEYS

_ATTRIBUTES = ("targets", "labels")


def is_shuffled(data: Any) -> bool | None:
    """Whether a loader draws its samples in random order; None where that cannot be seen."""
    if not isinstance(data, torch_data.DataLoader) or isinstance(data.dataset, torch_data.IterableDataset):
        return None
    # A batch sampler of the user's own orders the samples as it likes.
    if type(data.batch_sampler) is not torch_data.BatchSampler:
        return None
    if isinstance(data.sampler, torch_data.SequentialSampler):
        return False
    random = (torch_data.RandomSampler, torch_data.SubsetRandomSampler, torch_data.WeightedRandomSampler)
    if isinstance(data.sampler, random):
        return True
    declared = getattr(data.sampler, "shuffle", None)
    return declared if isinstance(declared, bool) else None


def dataset_targets(data: Any, limit: int) -> Tensor | None:
    """Targets of the samples of a loader's dataset, from first to last; None where they are no numbers or cannot be read.

    All of them where the dataset holds them in one piece, else those of up to `limit` samples spread evenly over it.
    """
    dataset = data.dataset if isinstance(data, torch_data.DataLoader) else data
    if not isinstance(dataset, torch_data.Dataset) or isinstance(dataset, torch_data.IterableDataset):
        return None
    try:
        held = _held(dataset)
        return held if held is not None else _spread(dataset, limit)
    except Exception:  # a dataset that cannot be indexed like this is no fault: the loader is how it is read
        return None


def _held(dataset: Any) -> Tensor | None:
    if isinstance(dataset, torch_data.Subset):
        below = _held(dataset.dataset)
        return below[torch.as_tensor(dataset.indices)] if below is not None else None
    if isinstance(dataset, torch_data.TensorDataset):
        return dataset.tensors[-1].detach() if len(dataset.tensors) > 1 else None
    found = next((getattr(dataset, name) for name in _ATTRIBUTES if hasattr(dataset, name)), None)
    if isinstance(found, Tensor) or type(found).__module__ == "numpy":
        found = torch.as_tensor(found).detach()
    elif isinstance(found, list) and found and all(isinstance(item, int) for item in found):
        found = torch.tensor(found)
    return found if isinstance(found, Tensor) and found.dim() and len(found) == len(dataset) else None


def _spread(dataset: Any, limit: int) -> Tensor | None:
    size = len(dataset)
    step = max(size // limit, 1)
    with seeded(0):
        found = [_target(dataset[index]) for index in range(0, size, step)][:limit]
    return _stacked(found)


def _target(sample: Any) -> Any:
    if isinstance(sample, Mapping):
        return next((sample[key] for key in LABEL_KEYS if key in sample), None)
    return sample[-1] if isinstance(sample, (tuple, list)) and len(sample) > 1 else None


def _stacked(targets: Iterable[Any]) -> Tensor | None:
    listed = list(targets)
    if not listed or any(target is None for target in listed):
        return None
    tensors = [torch.as_tensor(target).detach() for target in listed]
    return torch.stack(tensors) if len({tensor.shape for tensor in tensors}) == 1 else None
