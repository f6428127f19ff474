"""The axis of the samples: which one it is, how many samples there are, the first few of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import nnlint
from nnlint.probes.given.batch import Batch
from nnlint.samples import batch_axis, batch_layout, first_samples, given_samples, rolled, sample_count
from nnlint.setup.training_setup import TrainingSetup
from nnlint.time_axis import flat_order, told_time

TIME_MAJOR = torch.randn(12, 64, 8, generator=torch.Generator().manual_seed(0))


class Recurrent(nn.Module):
    """Time first, and three quarters of its units dead: their bias keeps them below zero whatever the input."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(8, 16)
        self.fc = nn.Linear(16, 48)
        self.head = nn.Linear(48, 4)
        with torch.no_grad():
            self.fc.bias[:36] = -50.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.fc(self.rnn(x)[0]).relu()[-1])


def time_major() -> dict[str, Any]:
    torch.manual_seed(0)
    return {
        "model": Recurrent(),
        "inputs": TIME_MAJOR,
        "targets": torch.arange(64) % 4,
        "loss": nn.CrossEntropyLoss(),
        "declared": {"time-major"},
    }


def test_every_measurement_counts_the_same_samples() -> None:
    """(12, 64, 8), declared time-major, is 64 samples of 12 steps to every part of nnlint."""
    setup = TrainingSetup(**time_major())
    (result,) = nnlint.check(setup, select=["SIG"]).results
    batch = Batch.from_setup(setup)
    assert result.measurements["samples"] == sample_count(setup) == batch.samples == batch.inputs[0].samples == 64
    assert batch.inputs[0].shape == (12, 64, 8)
    assert tuple(batch.inputs[0].by_sample.shape) == (64, 12, 8)


def test_dead_units_of_a_time_major_model_are_no_matter_of_few_samples() -> None:
    """SIG001 lowers its level below 32 samples; there are 64."""
    found = [item for item in nnlint.check(time_major(), select=["SIG001"]).findings if item.code == "SIG001"]
    assert [item.level.value for item in found] == ["warning"]
    assert found[0].evidence["samples"] == 64


def test_copies_of_a_time_major_sample_are_found_along_its_axis() -> None:
    case = time_major()
    case["inputs"] = TIME_MAJOR.clone()
    case["inputs"][:, 1] = case["inputs"][:, 0]
    case["targets"] = torch.arange(64) // 2 % 4
    (found,) = [item for item in nnlint.check(case, select=["DAT"]).findings if "copies" in item.evidence]
    assert found.evidence["groups"] == [[0, 1]]


def test_nan_is_counted_in_samples_of_time_major_data() -> None:
    case = time_major()
    case["inputs"] = TIME_MAJOR.clone()
    case["inputs"][3, 40] = float("nan")
    (found,) = nnlint.check(case, select=["DAT004"]).findings or nnlint.check(case, select=["DAT"]).findings[:1]
    assert found.evidence["samples"] == [40]


@pytest.mark.parametrize(
    ("inputs", "others", "expected"),
    [
        (torch.zeros(6, 3), {}, (6, 0)),
        (torch.zeros(7, 5, 3), {"targets": torch.zeros(5)}, (5, 1)),
        (torch.zeros(5, 7, 3), {"targets": torch.zeros(5)}, (5, 0)),
        (torch.zeros(7, 5, 3), {"declared": ("time-major",)}, (5, 1)),
        ({"source": torch.zeros(7, 5), "target": torch.zeros(9, 5)}, {}, (5, 1)),
        ([torch.zeros(3, 20, 30), torch.zeros(3, 25, 20)], {}, (1, 0)),
    ],
)
def test_layout(inputs: Any, others: dict[str, Any], expected: tuple[int, int]) -> None:
    layout = batch_layout(TrainingSetup(model=nn.Identity(), inputs=inputs, **others))
    assert (layout.samples, layout.axis) == expected


def test_the_sum_over_a_time_major_batch_is_a_sum_over_its_samples() -> None:
    """LOS021 counts samples as everything else does."""
    case = {**time_major(), "loss": nn.CrossEntropyLoss(reduction="sum")}
    (found,) = nnlint.check(case, select=["LOS021"]).findings
    assert found.evidence["samples"] == 64


def test_a_value_that_lost_the_axis_of_the_time_has_its_samples_first() -> None:
    layout = batch_layout(TrainingSetup(model=nn.Identity(), inputs=TIME_MAJOR, declared=("time-major",)))
    assert layout.axis_in(TIME_MAJOR) == 1
    assert layout.axis_in(torch.zeros(64, 16)) == 0
    plain = batch_layout(TrainingSetup(model=nn.Identity(), inputs=torch.zeros(16, 3)))
    assert plain.axis_in(torch.zeros(3, 16)) is None  # a coincidence of sizes


def test_listed_samples() -> None:
    images = [torch.zeros(3, 8, 8), torch.zeros(3, 9, 7)]
    setup = TrainingSetup(model=nn.Identity(), inputs=(images, [{}, {}]))
    assert (given_samples(setup), sample_count(setup)) == (2, 1)
    assert Batch.from_setup(setup).samples == 2
    assert given_samples(TrainingSetup(model=nn.Identity(), inputs={"n": 3})) == 0


def test_first_samples() -> None:
    inputs = {"x": torch.zeros(7, 16, 3), "lengths": torch.zeros(16), "scale": torch.tensor(2.0)}
    few = first_samples(inputs, 16, 4)
    assert {name: tuple(value.shape) for name, value in few.items()} == {"x": (7, 4, 3), "lengths": (4,), "scale": ()}
    assert first_samples({**inputs, "table": torch.zeros(5, 5)}, 16, 4)["x"].shape == (7, 16, 3)
    assert batch_axis(torch.zeros(3, 3), 16) is None


def test_offsets_of_bags_stay_where_the_samples_are_moved_on() -> None:
    offsets = torch.tensor([0, 4, 4, 9])
    assert rolled(offsets, 4) is offsets
    ids = torch.tensor([0, 1, 2, 3])
    assert rolled(ids, 4).tolist() == [3, 0, 1, 2]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_samples_of_different_length_are_moved_on(layout: torch.layout) -> None:
    parts = [torch.full((length, 2), float(length)) for length in (1, 2, 3)]
    moved = rolled(torch.nested.nested_tensor(parts, layout=layout), 3)
    assert [len(part) for part in moved.unbind()] == [3, 1, 2]
    assert moved.layout is layout


def words(*shape: int) -> torch.Tensor:
    return torch.randint(2, 30, shape, generator=torch.Generator().manual_seed(len(shape)))


def padded(samples: int = 9, length: int = 12) -> torch.Tensor:
    lengths = torch.tensor([5, 12, 7, 9, 4, 11, 8, 6, 10])[:samples, None]
    return words(samples, length).masked_fill(torch.arange(length) >= lengths, 0)


def waves(samples: int = 15, steps: int = 20) -> torch.Tensor:
    phase = torch.rand(samples, 1, 4, generator=torch.Generator().manual_seed(0)) * 6
    return (0.4 * torch.arange(steps)[None, :, None] + phase).sin()


CODE = words(9, 13)
TOLD = {
    "labels are the next words": ((CODE[:, :-1],), (CODE[:, 1:],), (1, 9)),
    "labels are the next words, in a row": ((CODE[:, :-1],), (CODE[:, 1:].reshape(-1),), (1, 9)),
    "time first, labels in a row": ((CODE[:-1],), (CODE[1:].reshape(-1),), (0, 13)),
    "a start token": ((torch.cat([torch.ones(9, 1, dtype=torch.long), CODE], 1),), (), (1, 9)),
    "padding": ((padded(),), (), (1, 9)),
    "padding, time first": ((padded().t(),), (), (0, 9)),
    "a source and a translation": ((words(9, 7), words(9, 11)), (), (1, 9)),
    "smooth series": ((waves(),), (), (1, 15)),
    "smooth series, time first": ((waves().transpose(0, 1),), (), (0, 15)),
    "nothing": ((CODE,), (CODE.flip(1),), None),
    "windows of one series": ((waves(1, 40)[0, :, :1].unfold(0, 20, 1).transpose(1, 2),), (), None),
    "noise": ((torch.randn(12, 12, 3, generator=torch.Generator().manual_seed(0)),), (), None),
    "longest first": ((padded()[padded().ne(0).sum(1).argsort(descending=True)],), (), None),
    "rows that contradict each other": ((padded(), padded().t()), (), None),
    "no values": ((CODE.to("meta"),), (), None),
}


@pytest.mark.parametrize(("inputs", "targets", "expected"), TOLD.values(), ids=TOLD)
def test_values_tell_which_axis_is_time(inputs, targets, expected) -> None:
    assert told_time(inputs, targets) == expected


TAGS = CODE * 7 % 13 % 5
FLAT = {
    "the next words": ((CODE[:, :-1], CODE[:, 1:].flatten()), (0, 1)),
    "the next words, step by step": ((CODE[:, :-1], CODE[:, 1:].t().flatten()), (1, 0)),
    "the words themselves, step by step": ((CODE, CODE.t().flatten()), (1, 0)),
    "tags": ((CODE, TAGS.flatten()), (0, 1)),
    "tags, step by step, some ignored": ((CODE, torch.where(CODE % 4 == 1, -100, TAGS).t().flatten()), (1, 0)),
    "labels that no word tells": ((CODE, CODE.flatten().roll(40)), None),
    "one tag for nearly all": ((CODE, (CODE.flatten() == 3).long()), None),
    "a vector": ((CODE, torch.arange(9)), None),
}


@pytest.mark.parametrize(("given", "expected"), FLAT.values(), ids=FLAT)
def test_values_tell_the_order_of_flat_targets(given, expected) -> None:
    assert flat_order(*given) == expected


def test_told_time_settles_the_layout() -> None:
    """As many steps in the targets as in the inputs leave the axes open; labels that are the next words do not."""

    def layout(inputs: torch.Tensor, targets: torch.Tensor) -> tuple[int, bool, int]:
        found = batch_layout(TrainingSetup(model=nn.Embedding(30, 30), inputs=inputs, targets=targets))
        return found.samples, found.settled, found.axis

    assert layout(CODE, CODE.flip(1)) == (9, False, 0)
    assert layout(CODE[:, :-1], CODE[:, 1:]) == (9, True, 0)
    assert layout(CODE[:-1], CODE[1:]) == (13, True, 1)


def test_a_sparse_matrix_stays_where_samples_move_on() -> None:
    links = (torch.arange(6)[:, None] + torch.arange(6) < 4).float().to_sparse().coalesce()
    assert rolled(links, 6) is links
