"""DAT007 sorted-batches: batches of a single class each, from data that has several."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
)

from tests.rules.data.dataset import BALANCED, INPUTS, SKEWED, check, loader, report

SORTED = torch.arange(512) // 128


class SortedStream(IterableDataset):
    def __iter__(self):
        return zip(INPUTS, SORTED, strict=True)


class Counting(Dataset):
    """A dataset that holds its labels in no attribute: they are found by reading samples."""

    def __init__(self, labels):
        self.rows = labels.tolist()

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return INPUTS[index], self.rows[index]


def test_sorted_batches() -> None:
    assert check("DAT007", data=loader(SORTED)) == ["warning"]
    assert check("DAT007", data=DataLoader(Counting(SORTED), batch_size=64)) == ["warning"]
    assert check("DAT007", data=DataLoader(Subset(Counting(SORTED), range(512)), batch_size=32)) == ["warning"]


def test_long_stretch_of_one_class_is_seen_by_the_dataset() -> None:
    """16 batches of 4 are all of the first class; the rest of the dataset is not."""
    assert check("DAT007", data=DataLoader(Counting(SORTED), batch_size=8)) == ["warning"]
    assert check("DAT012", data=DataLoader(Counting(SORTED), batch_size=8)) == []


@pytest.mark.parametrize(
    "data",
    [loader(SORTED, shuffle=True), loader(BALANCED), loader(torch.zeros(512, dtype=torch.long)), loader(SKEWED)],
    ids=["shuffled", "mixed", "one class", "one class nearly"],
)
def test_other_orders_are_silent(data) -> None:
    assert check("DAT007", data=data) == []


@pytest.mark.parametrize(
    "data",
    [DataLoader(SortedStream(), batch_size=64), [(INPUTS[:64], SORTED[:64]), (INPUTS[448:], SORTED[448:])]],
    ids=["iterable", "list of batches"],
)
def test_orders_that_cannot_be_judged_are_a_skip(data) -> None:
    assert [item.code for item in report("DAT007", data=data).skipped] == ["DAT007"]
