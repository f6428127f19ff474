"""What can be seen of the data behind a loader without reading it through: its order, and the targets of all its samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils import data as torch_data

from nnlint.finding import Skip
from nnlint.frames import is_fatal
from nnlint.probes.torch_errors import during
from nnlint.seeding import seeded
from nnlint.setup.training_setup import LABEL_KEYS

#: Notes that reading the data raised, as a failure of the check; what a rule then raises.
Failed: TypeAlias = Callable[[str, BaseException], Skip]

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


def dataset_targets(data: Any, limit: int, failed: Failed | None = None) -> Tensor | None:
    """Targets of the samples of a loader's dataset, from first to last; None where they are no numbers or cannot be read.

    All of them where the dataset holds them in one piece, else those of up to `limit` samples spread evenly over it.

    Raises:
        Skip: a sample that the loader will read raises, and `failed` was told.
    """
    dataset = data.dataset if isinstance(data, torch_data.DataLoader) else data
    if not isinstance(dataset, torch_data.Dataset) or isinstance(dataset, torch_data.IterableDataset):
        return None
    try:
        held = _held(dataset)
    except Exception:  # labels of a kind of their own are no fault
        return None
    if held is not None:
        return held
    try:
        return _stacked(_spread(dataset, limit))
    except BaseException as error:
        if is_fatal(error):
            raise
        if failed is not None and _reads_every_sample(data):
            raise failed("data", error) from error
        return None  # a dataset that cannot be indexed like this is no fault: the loader is how it is read


def _reads_every_sample(data: Any) -> bool:
    """Whether an epoch reads `dataset[0]` to `dataset[len(dataset) - 1]` one by one."""
    return (
        isinstance(data, torch_data.DataLoader)
        and type(data.batch_sampler) is torch_data.BatchSampler
        and type(data.sampler) in (torch_data.SequentialSampler, torch_data.RandomSampler)
        and not hasattr(data.dataset, "__getitems__")
    )


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


def _spread(dataset: Any, limit: int) -> list[Any]:
    size = len(dataset)
    step = max(size // limit, 1)
    with seeded(0), during("reading the training data", "read the data to its end outside nnlint"):
        return [_target(dataset[index]) for index in range(0, size, step)][:limit]


def _target(sample: Any) -> Any:
    if isinstance(sample, Mapping):
        return next((sample[key] for key in LABEL_KEYS if key in sample), None)
    return sample[-1] if isinstance(sample, (tuple, list)) and len(sample) > 1 else None


def _stacked(targets: Iterable[Any]) -> Tensor | None:
    listed = list(targets)
    if not listed or any(target is None for target in listed):
        return None
    try:
        tensors = [torch.as_tensor(target).detach() for target in listed]
    except (TypeError, ValueError, RuntimeError):  # no numbers
        return None
    return torch.stack(tensors) if len({tensor.shape for tensor in tensors}) == 1 else None
