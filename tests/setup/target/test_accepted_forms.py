"""What a build function may return, and what is taken from the user's data."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from nnlint.setup import SetupError, SetupOptions, TrainingSetup, coerce
from nnlint.setup.batches import LABEL_KEYS, split_batch


class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.body = nn.Linear(width, 2)

    def forward(self, x):
        return self.body(x)


class Keyed(Net):
    def forward(self, ids, mask=None, labels=None):
        return self.body(ids)


class Needy(nn.Module):
    def __init__(self, width):
        super().__init__()

    def forward(self, x):
        return x


class MyLoss(nn.Module):
    def forward(self, output, targets):
        return (output - targets).abs().mean()


class Pair(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


X = torch.randn(6, 4)
Y = torch.zeros(6, dtype=torch.int64)
LOADER = DataLoader(TensorDataset(X, Y), batch_size=3)


def error_of(value, **options):
    with pytest.raises(SetupError) as caught:
        coerce(value, SetupOptions(**options))
    return caught.value


def test_a_model_is_kept_as_it_is():
    model = Net()
    setup = coerce(model)
    assert setup.model is model
    assert model.training
    assert setup.inputs.shape == (8, 4)


def test_a_class_and_a_function_are_called():
    assert isinstance(coerce(Net).model, Net)
    assert coerce(Net).construction["body"].file == __file__
    assert isinstance(coerce(lambda: (Net(), X)).model, Net)
    error = error_of(Needy)
    assert "needs arguments that were not given: width" in error.message
    assert error.fix == "write Needy(width=...)"


def test_a_setup_passes_through():
    setup = TrainingSetup(model=Net(), inputs=X, targets=Y, loss=F.cross_entropy)
    result = coerce(setup)
    assert (result.model, result.inputs, result.loss) == (setup.model, X, F.cross_entropy)
    assert result.assumptions == ()


def test_every_key_of_a_dict_reaches_its_field():
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    given = {
        "model": model, "inputs": X, "targets": Y, "loss": F.cross_entropy, "optimizer": optimizer,
        "scheduler": scheduler, "data": LOADER, "val_data": [(X, Y)], "causal": True, "task": "classification",
        "frozen": ("body",), "declared": frozenset({"stochastic"}), "num_classes": 2, "precision": "fp16",
        "grad_scaler": True, "planned_steps": 100,
    }  # fmt: skip
    setup = coerce(given)
    for name, value in given.items():
        assert getattr(setup, name) is value or getattr(setup, name) == value, name


def test_a_loss_may_be_named_in_a_dict():
    setup = coerce({"model": Net(), "inputs": X, "targets": Y, "loss": "cross_entropy"})
    assert torch.equal(setup.compute_loss(setup.call_model()), F.cross_entropy(setup.call_model(), Y))


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        (
            {"modle": Net()},
            ["the target is a dict with the unknown key 'modle'; did you mean 'model'?", "known: model"],
        ),
        ({"model": Net(), "criterion": 1}, ["unknown key 'criterion'; did you mean 'loss'?"]),
        ({"model": Net(), "construction": {}}, ["unknown key 'construction'"]),
        ({"model": Net(), "zzz": 1}, ["unknown key 'zzz' (known: model, inputs"]),
        ({"model": Net(), 3: 1}, ["unknown key 3"]),
        ({"inputs": X}, ["without the key 'model'"]),
        ({"model": Net}, ["model is the class Net, not an instance: write Net(...)"]),
        ({"model": Net(), "loss": "crossentropy"}, ["unknown loss 'crossentropy'; did you mean cross_entropy?"]),
        ({"model": Net(), "causal": "perhaps"}, ["causal: Input should be a valid boolean", "got str 'perhaps'"]),
        ({"model": Net(), "planned_steps": 0}, ["planned_steps: Input should be greater than or equal to 1"]),
        ((X, Y), ["a tuple (a tensor of shape 6x4, a tensor of shape 6), without a model in it"]),
        ((Net(), 3), ["it is unclear what int 3 is; write a dict instead"]),
        ((Net(), X, Y, X), ["it is unclear what a tensor of shape 6x4 is"]),
        ((Net(), Needy(3), MyLoss()), ["it is unclear what a MyLoss is"]),
        ([Net(), X], ["the target is a list (a tuple, not a list, holds several parts)", "accepted are"]),
        (3, ["the target is int 3; accepted are a torch.nn.Module, a dict with the key 'model', a tuple"]),
        (lambda: Net, ["the target is the class Net (the class, not an instance: write Net(...))"]),
        (None, ["the target is None"]),
    ],
)
def test_refused_values(value, parts):
    error = error_of(value)
    assert error.code == "RUN001"
    for part in parts:
        assert part in error.message


def test_a_setup_made_wrongly_in_the_build_function_reads_well():
    def build():
        return TrainingSetup(model=Net(), optimizer="adam")

    message = error_of(build).message
    assert "build() raised an error: optimizer must be a torch.optim.Optimizer, got str 'adam'" in message
    assert "pydantic.dev" not in message


def tuple_of(*names):
    model = Net()
    parts = {
        "model": model, "inputs": X, "targets": Y, "loss": F.cross_entropy, "loss_module": nn.CrossEntropyLoss(),
        "data": LOADER, "batches": [(X, Y)], "optimizer": torch.optim.SGD(model.parameters(), 0.1), "pair": (X, Y),
    }  # fmt: skip
    return tuple(parts[name] for name in names)


@pytest.mark.parametrize(
    ("names", "has"),
    [
        (("model",), {}),
        (("model", "inputs"), {"inputs"}),
        (("model", "loss"), {"loss"}),
        (("model", "loss_module"), {"loss"}),
        (("model", "inputs", "targets"), {"inputs", "targets"}),
        (("model", "pair"), {"inputs", "targets"}),
        (("model", "loss", "data"), {"inputs", "targets", "loss", "data"}),
        (("model", "loss", "data", "optimizer"), {"inputs", "targets", "loss", "data", "optimizer"}),
        (("model", "loss", "batches"), {"inputs", "targets", "loss", "data"}),
        (("model", "inputs", "targets", "loss"), {"inputs", "targets", "loss"}),
        (("model", "inputs", "targets", "loss_module", "optimizer"), {"inputs", "targets", "loss", "optimizer"}),
        (("optimizer", "model", "data"), {"inputs", "targets", "data", "optimizer"}),
        (("loss_module", "model", "pair"), {"inputs", "targets", "loss"}),
    ],
)
def test_tuples_are_told_by_type(names, has):
    value = tuple_of(*names)
    setup = coerce(value)
    assert setup.model is value[names.index("model")]
    if "inputs" in has:
        assert torch.equal(setup.inputs, X[: len(setup.inputs)])
        assert not setup.inputs_assumed
    if "targets" in has:
        assert torch.equal(setup.targets, Y[: len(setup.targets)])
        assert not setup.targets_assumed
    for name in ("loss", "data", "optimizer"):
        assert (getattr(setup, name) is not None) == (name in has)


def test_a_custom_loss_module_comes_after_the_model():
    setup = coerce((Net(), MyLoss(), X, torch.zeros(6, 2)))
    assert isinstance(setup.loss, MyLoss)


def test_a_pair_stays_positional_where_the_model_takes_two():
    class Two(nn.Module):
        def forward(self, a, b):
            return a + b

    setup = coerce((Two(), (X, X)))
    assert setup.targets is None
    assert torch.equal(setup.call_model(), X + X)


def test_a_scheduler_is_told_by_type():
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    assert coerce((model, X, optimizer, scheduler)).scheduler is scheduler


# ---------------------------------------------------------------- batches


def test_the_first_batch_of_shuffled_data_leaves_no_trace():
    generator = torch.Generator().manual_seed(5)
    loader = DataLoader(TensorDataset(X, Y), batch_size=3, shuffle=True, generator=generator)
    model = Net()
    own, process, python = generator.get_state(), torch.get_rng_state(), random.getstate()
    first = coerce((model, loader)).inputs
    assert torch.equal(own, generator.get_state())
    assert torch.equal(process, torch.get_rng_state())
    assert python == random.getstate()
    assert torch.equal(first, coerce((Net(), loader)).inputs)
    assert torch.equal(first, next(iter(loader))[0])


def test_shuffling_by_the_process_generator_is_seeded():
    loader = DataLoader(TensorDataset(X, Y), batch_size=3, shuffle=True)
    torch.manual_seed(1)
    first = coerce((Net(), loader)).inputs
    torch.manual_seed(2)
    assert torch.equal(first, coerce((Net(), loader)).inputs)


def test_an_iterator_loses_no_batch():
    taken = []

    def batches():
        for number in range(3):
            taken.append(number)
            yield X + number, Y

    setup = coerce({"model": Net(), "data": batches()})
    assert taken == [0]
    assert torch.equal(setup.inputs, X)
    assert [torch.equal(x, X + n) for n, (x, _) in enumerate(setup.data)] == [True] * 3


def test_given_inputs_leave_the_data_alone():
    def batches():
        raise AssertionError("must not be advanced")
        yield

    setup = coerce({"model": Net(), "inputs": X, "data": batches()})
    assert setup.inputs is X


class Samples(Dataset):
    def __len__(self):
        return 20

    def __getitem__(self, index):
        return torch.full((4,), float(index)), index % 2


def test_a_dataset_is_batched():
    setup = coerce((Net(), Samples()), SetupOptions(batch_size=5))
    assert torch.equal(setup.inputs[:, 0], torch.arange(5.0))
    assert "dataset of single samples: batched by 5" in setup.assumptions[0]


def test_faults_of_the_data_are_reported():
    def raising():
        raise OSError("disk gone")
        yield

    error = error_of((Net(), raising()))
    assert "the data raised OSError when its first batch was taken: disk gone" in error.message
    assert error.location.file == __file__
    assert "a list yields no batch" in error_of({"model": Net(), "data": []}).message
    assert "the data yields int 3: a batch is a tensor" in error_of({"model": Net(), "data": [3]}).message
    assert "empty batches" in error_of({"model": Net(), "data": [()]}).message


@pytest.mark.parametrize("key", LABEL_KEYS)
def test_labels_are_known_by_their_key(key):
    inputs, targets = split_batch({"ids": X, key: Y}, Net(), has_loss=True)
    assert inputs is X
    assert targets is Y


@pytest.mark.parametrize(
    ("batch", "model", "has_loss", "inputs", "targets"),
    [
        ((X, Y), Net(), True, X, Y),
        ([X, Y], Net(), True, X, Y),
        (Pair(X, Y), Net(), True, X, Y),
        ((X,), Net(), True, X, None),
        ((X, X, Y), Net(), True, (X, X), Y),
        (X, Net(), True, X, None),
        ({"ids": X, "labels": Y}, Keyed(), True, {"ids": X}, Y),
        ({"ids": X, "labels": Y}, Keyed(), False, {"ids": X, "labels": Y}, Y),
        ({"ids": X, "mask": Y}, Keyed(), False, {"ids": X, "mask": Y}, None),
        ({"ids": X, "mask": Y, "name": 3}, Keyed(), True, {"batch": 0}, None),
        ({"a": X, "b": X, "y": Y}, Net(), True, {"batch": 0}, Y),
    ],
)
def test_batches_are_split(batch, model, has_loss, inputs, targets):
    found, labels = split_batch(batch, model, has_loss=has_loss)
    assert labels is targets
    if isinstance(inputs, dict) and "batch" in inputs:
        # forward(batch): the whole dict is the one argument.
        assert found == (batch,)
    elif isinstance(inputs, dict):
        assert found == inputs
    elif isinstance(inputs, tuple):
        assert all(a is b for a, b in zip(found, inputs, strict=True))
    else:
        assert found is inputs
