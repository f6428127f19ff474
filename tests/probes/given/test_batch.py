"""Batch evidence: names, statistics, and data that is read without being used up."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from nnlint import check
from nnlint.finding import Skip
from nnlint.probes.given.batch import Batch
from nnlint.setup.training_setup import TrainingSetup


def batch_of(inputs: Any, targets: Any = None, **more: Any) -> Batch:
    return Batch.from_setup(TrainingSetup(model=nn.Linear(3, 2), inputs=inputs, targets=targets, **more))


def test_no_inputs_is_a_skip() -> None:
    with pytest.raises(Skip, match="no example input"):
        batch_of(None)


@dataclass
class Sample:
    image: torch.Tensor
    mask: torch.Tensor


@pytest.mark.parametrize(
    ("inputs", "names", "samples"),
    [
        (torch.zeros(5, 3), ["inputs"], 5),
        ((torch.zeros(4, 3), torch.zeros(4)), ["inputs[0]", "inputs[1]"], 4),
        ({"ids": torch.zeros(6, 2), "more": [torch.zeros(1)]}, ["inputs['ids']", "inputs['more'][0]"], 6),
        (([torch.zeros(3, 8, 8), torch.zeros(3, 9, 9)],), ["inputs[0][0]", "inputs[0][1]"], 2),
        (Sample(torch.zeros(7, 3), torch.zeros(7)), ["inputs.image", "inputs.mask"], 7),
        (torch.tensor(1.0), ["inputs"], 1),
    ],
)
def test_tensors_are_named_and_samples_counted(inputs: Any, names: list[str], samples: int) -> None:
    batch = batch_of(inputs)
    assert [tensor.name for tensor in batch.inputs] == names
    assert batch.samples == samples
    assert batch.targets == ()


def test_statistics() -> None:
    tensor = batch_of(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 9.0]])).inputs[0]
    assert (tensor.shape, tensor.dtype, tensor.is_floating, tensor.is_integer) == ((2, 3), "float32", True, False)
    assert (tensor.mean, tensor.min, tensor.max) == (4.0, 1.0, 9.0)
    assert tensor.std == pytest.approx(math.sqrt(40 / 6))
    assert tensor.finite
    assert not tensor.constant


def test_statistics_are_of_the_finite_numbers() -> None:
    tensor = batch_of(torch.tensor([[1.0, math.nan, 3.0], [math.inf, -math.inf, 2.0]])).inputs[0]
    assert (tensor.nan_count, tensor.inf_count, tensor.finite, tensor.constant) == (1, 2, False, False)
    assert (tensor.mean, tensor.min, tensor.max) == (2.0, 1.0, 3.0)


def test_constants_integers_and_empty_tensors() -> None:
    batch = batch_of(torch.full((4, 3), 7, dtype=torch.uint8), torch.zeros(0))
    assert batch.inputs[0].constant
    assert batch.inputs[0].is_integer
    assert math.isnan(batch.targets[0].mean)
    assert not batch.targets[0].constant


def test_tensors_without_values_say_so() -> None:
    tensor = batch_of(torch.empty(4, 3, device="meta")).inputs[0]
    assert tensor.shape == (4, 3)
    with pytest.raises(Skip, match="no values"):
        _ = tensor.mean


def test_made_up_inputs_are_not_judged() -> None:
    made_up = batch_of(torch.zeros(2, 3), torch.zeros(2), inputs_assumed=True, targets_assumed=True)
    with pytest.raises(Skip, match="nnlint generated the inputs"):
        made_up.require_real()
    with pytest.raises(Skip, match="nnlint generated them"):
        made_up.require_real_targets()
    with pytest.raises(Skip, match="no targets"):
        batch_of(torch.zeros(2, 3)).require_real_targets()
    given = batch_of(torch.zeros(2, 3), torch.zeros(2))
    given.require_real()
    given.require_real_targets()


def loader(**options: Any) -> Any:
    pairs = torch.utils.data.TensorDataset(torch.arange(30.0).reshape(10, 3), torch.arange(10))
    return torch.utils.data.DataLoader(pairs, batch_size=4, **options)


def test_batches_are_read_from_the_data() -> None:
    batch = batch_of(torch.zeros(4, 3), data=loader(), val_data=loader())
    assert [one.samples for one in batch.batches(10)] == [4, 4, 2]
    assert batch.batches(2)[1].inputs[0].tensor[0].tolist() == [12, 13, 14]
    assert batch.batches(2)[1].targets[0].tensor.tolist() == [4, 5, 6, 7]
    assert len(batch.val_batches(1)) == 1


def test_reading_leaves_the_random_generators_alone() -> None:
    own = torch.Generator().manual_seed(1)
    batch = batch_of(torch.zeros(4, 3), data=loader(shuffle=True, generator=own), val_data=loader(shuffle=True))
    state, own_state = torch.get_rng_state(), own.get_state()
    assert len(batch.batches(2)) == len(batch.val_batches(2)) == 2
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(own.get_state(), own_state)


def test_an_iterator_is_not_used_up() -> None:
    data: Iterator[Any] = iter([(torch.zeros(2, 3), torch.zeros(2))])
    batch = batch_of(torch.ones(4, 3), data=data)
    assert batch.batches(3) == (batch,)
    assert batch.val_batches(3) == ()
    assert len(list(data)) == 1


def test_data_that_raises_is_a_skip() -> None:
    class Broken:
        def __iter__(self) -> Iterator[Any]:
            raise OSError("disk gone")

    with pytest.raises(Skip, match=r"OSError.*disk gone"):
        batch_of(torch.zeros(4, 3), data=Broken()).batches(1)


class Samples(torch.utils.data.Dataset[Any]):
    """Labelled samples, of which those from `broken` on cannot be read."""

    def __init__(self, broken: int) -> None:
        self.broken = broken

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> Any:
        if index >= self.broken:
            raise OSError(f"no file {index}")
        return torch.full((8,), index / 64), index % 4


@pytest.mark.parametrize(("first", "validation"), [(20, 64), (60, 64), (64, 0)])
def test_data_that_raises_later_is_a_failure_of_the_check(first: int, validation: int) -> None:
    def loaded(broken: int) -> Any:
        return torch.utils.data.DataLoader(Samples(broken), batch_size=16)

    model = nn.Linear(8, 4)
    setup = {"model": model, "loss": torch.nn.CrossEntropyLoss(), "data": loaded(first), "val_data": loaded(validation)}
    (result,) = check(setup, select=("DAT",)).results
    (finding,) = result.findings
    assert (result.status, finding.code) == ("failed", "RUN008")
    assert finding.location is not None
    assert finding.location.file.endswith("test_batch.py")
    assert ("validation" if validation == 0 else "training") in finding.message


def test_batches_of_another_form_are_a_skip() -> None:
    with pytest.raises(Skip, match="batch is a tensor"):
        batch_of(torch.zeros(4, 3), data=["text"]).batches(1)
