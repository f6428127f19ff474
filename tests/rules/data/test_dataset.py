"""DAT004, DAT006, DAT007, DAT010, DAT011, DAT012: samples and labels of the data as a whole."""

from __future__ import annotations

import random

import numpy
import pytest
import torch
from torch import nn
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

import nnlint

GENERATOR = torch.Generator().manual_seed(7)
INPUTS = torch.randn(512, 12, generator=GENERATOR)
BALANCED = torch.arange(512) % 4
SKEWED = torch.where(torch.arange(512) % 20 > 0, 0, 1)


def net(outputs=4):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, outputs))


def report(code, loss=None, model=None, **parts):
    setup = {"model": model or net(), "loss": loss or nn.CrossEntropyLoss(), **parts}
    return nnlint.check(setup, select=[code]).results[0]


def check(code, **parts):
    made = report(code, **parts)
    assert made.skipped == []
    return [item.level.value for item in made.findings]


def loader(labels, **options):
    return DataLoader(TensorDataset(INPUTS[: len(labels)], labels), batch_size=64, **options)


@pytest.mark.parametrize(
    ("labels", "fires"), [(BALANCED, False), (SKEWED, True), (torch.where(torch.arange(512) % 6 > 0, 0, 1), False)]
)
@pytest.mark.parametrize("shuffle", [False, True])
def test_imbalance(labels, fires, shuffle) -> None:
    assert check("DAT004", data=loader(labels, shuffle=shuffle)) == (["warning"] if fires else [])


def test_weights_in_the_loss_are_silent() -> None:
    weights = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 19.0, 1.0, 1.0]))
    assert check("DAT004", loss=weights, data=loader(SKEWED)) == []
    binary = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([19.0]))
    assert check("DAT004", model=net(1), loss=binary, data=loader(SKEWED.float()[:, None])) == []
    assert check("DAT004", model=net(1), loss=nn.BCEWithLogitsLoss(), data=loader(SKEWED.float()[:, None])) == [
        "warning"
    ]


def test_balancing_sampler_is_silent() -> None:
    weights = torch.where(SKEWED == 0, 1.0, 19.0)
    assert check("DAT004", data=loader(SKEWED, sampler=WeightedRandomSampler(weights, 512))) == []


def test_regression_and_dense_targets_are_silent() -> None:
    assert check("DAT004", model=net(1), loss=nn.MSELoss(), data=loader(torch.randn(512, 1))) == []
    dense = nn.Sequential(nn.Linear(12, 12), nn.Unflatten(1, (3, 4)))
    labels = torch.zeros(512, 4, dtype=torch.long)
    labels[0] = 1
    assert check("DAT004", model=dense, data=loader(labels)) == []


def test_few_samples_are_a_skip() -> None:
    made = report("DAT004", inputs=INPUTS[:32], targets=SKEWED[:32])
    assert "labels, got" in made.skipped[0].reason


def test_duplicates() -> None:
    inputs = INPUTS[:64].clone()
    assert check("DAT006", inputs=inputs, targets=BALANCED[:64]) == []
    inputs[63] = inputs[3]
    assert check("DAT006", inputs=inputs, targets=BALANCED[:64]) == ["info"]
    inputs[62] = inputs[3]
    assert check("DAT006", inputs=inputs, targets=BALANCED[:64]) == ["warning"]


def test_what_repeats_by_chance_is_silent() -> None:
    flags = (INPUTS[:256] > 0).float()
    flags[:, 4:] = 0.0
    assert check("DAT006", inputs=flags, targets=BALANCED[:256]) == []
    narrow = nn.Linear(3, 4)
    assert check("DAT006", model=narrow, inputs=torch.randint(0, 3, (256, 3)).float(), targets=BALANCED[:256]) == []


SORTED = torch.arange(512) // 128


class Stream(IterableDataset):
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
    [DataLoader(Stream(), batch_size=64), [(INPUTS[:64], SORTED[:64]), (INPUTS[448:], SORTED[448:])]],
    ids=["iterable", "list of batches"],
)
def test_orders_that_cannot_be_judged_are_a_skip(data) -> None:
    assert [item.code for item in report("DAT007", data=data).skipped] == ["DAT007"]


@pytest.mark.parametrize(
    ("targets", "fires"),
    [(INPUTS[:, :1], False), (INPUTS[:, :1] * 4 + 5, False), (INPUTS[:, :1] * 100, True), (INPUTS[:, :1] + 500, True)],
    ids=["standard", "small", "wide", "far"],
)
def test_unscaled_target(targets, fires) -> None:
    expected = ["warning"] if fires else []
    assert check("DAT010", model=net(1), loss=nn.MSELoss(), inputs=INPUTS, targets=targets) == expected
    assert check("DAT010", model=net(1), loss=nn.L1Loss(), inputs=INPUTS, targets=targets) == []


def test_output_scaled_by_the_model_is_silent() -> None:
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net(1)

        def forward(self, x):
            return self.net(x) * 100 + 500

    assert check("DAT010", model=Scaled(), loss=nn.MSELoss(), inputs=INPUTS, targets=INPUTS[:, :1] * 100 + 500) == []


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


@pytest.mark.parametrize(
    ("targets", "fires"),
    [
        (torch.full((512,), 2), True),
        (BALANCED, False),
        (torch.where(torch.arange(512) == 511, 1, 0), False),
    ],
    ids=["constant", "varied", "one differs"],
)
def test_constant_target(targets, fires) -> None:
    assert check("DAT012", data=loader(targets)) == (["error"] if fires else [])
    assert check("DAT012", inputs=INPUTS, targets=targets) == (["error"] if fires else [])


class OwnLoss(nn.Module):
    """Takes the labels among its inputs, like the models of transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net(3)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.net(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


@pytest.mark.parametrize(
    ("labels", "levels"), [(torch.ones(512, dtype=torch.long), ["error"]), (torch.arange(512) % 3, [])]
)
def test_constant_labels_among_the_inputs(labels, levels) -> None:
    fields = {"model": OwnLoss(), "loss": lambda output, _: output["loss"], "inputs": {"x": INPUTS, "labels": labels}}
    assert check("DAT012", **fields) == levels


def test_constant_regression_target() -> None:
    assert check("DAT012", model=net(1), loss=nn.MSELoss(), inputs=INPUTS, targets=torch.zeros(512, 1)) == ["error"]


@pytest.mark.parametrize(("samples", "level"), [(64, "warning"), (256, "error")])
def test_class_that_may_be_rare_is_no_error(samples, level) -> None:
    targets = torch.zeros(samples, dtype=torch.long)
    assert check("DAT012", inputs=INPUTS[:samples], targets=targets) == [level]
    assert check("DAT012", data=loader(targets)) == [level]


def test_constant_quantity_is_an_error_in_any_batch() -> None:
    assert check("DAT012", model=net(1), loss=nn.MSELoss(), inputs=INPUTS[:64], targets=torch.full((64, 1), 0.3)) == [
        "error"
    ]


def test_constant_target_of_few_samples_is_a_skip() -> None:
    assert "samples, got 4" in report("DAT012", inputs=INPUTS[:4], targets=torch.zeros(4, dtype=torch.long)).skipped[0].reason


def test_made_up_targets_are_a_skip() -> None:
    made = report("DAT012", inputs=INPUTS)
    assert [item.code for item in made.skipped] == ["DAT012"]
