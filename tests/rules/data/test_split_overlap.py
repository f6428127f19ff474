"""DAT011 split-overlap: validation samples that are in the training data as well."""

from __future__ import annotations

import random

import numpy
import pytest
import torch
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
)

from tests.rules.data.dataset import BALANCED, INPUTS, check, loader, report


def test_overlap() -> None:
    data = TensorDataset(INPUTS, BALANCED)
    training = DataLoader(data, batch_size=64, shuffle=True)
    assert check("DAT011", data=training, val_data=DataLoader(data, batch_size=32)) == ["error"]
    split = [DataLoader(Subset(data, part), batch_size=64) for part in (range(400), range(400, 512))]
    assert check("DAT011", data=split[0], val_data=split[1]) == []
    one = ConcatDataset([Subset(data, range(400, 512)), Subset(data, [0])])
    assert check("DAT011", data=split[0], val_data=DataLoader(one, batch_size=64)) == ["warning"]


class Drawn(Dataset):
    """Items that are drawn when they are read: a simulation, a toy task."""

    def __init__(self, draw):
        self.draw = draw

    def __len__(self):
        return 64

    def __getitem__(self, index):
        return self.draw(), index % 4


class Stream(IterableDataset):
    def __iter__(self):
        return ((torch.randn(12), index % 4) for index in range(64))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Drawn(lambda: torch.randn(12)),
        lambda: Drawn(lambda: torch.from_numpy(numpy.random.randn(12)).float()),
        lambda: Drawn(lambda: torch.tensor([random.gauss(0, 1) for _ in range(12)])),
        lambda: Drawn(lambda: torch.randint(1000, (12,)).float()),
        Stream,
    ],
)
def test_items_that_are_drawn_when_they_are_read_do_not_overlap(make) -> None:
    loaders = {name: DataLoader(make(), batch_size=16) for name in ("data", "val_data")}
    assert check("DAT011", **loaders) == []


def test_items_that_are_drawn_by_their_index_overlap() -> None:
    class Indexed(Drawn):
        def __getitem__(self, index):
            return torch.randn(12, generator=torch.Generator().manual_seed(index)), index % 4

    loaders = {name: DataLoader(Indexed(None), batch_size=16) for name in ("data", "val_data")}
    assert check("DAT011", **loaders) == ["error"]


def test_overlap_without_validation_data_is_a_skip() -> None:
    assert "needs validation data" in report("DAT011", data=loader(BALANCED)).skipped[0].reason
