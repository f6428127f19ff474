"""TrainingSetup: validation messages, calling the model, computing the loss, construction sites."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from nnlint.finding import Location
from nnlint.setup.errors import SetupError
from nnlint.setup.target.construction_sites import ConstructionSites
from nnlint.setup.training_setup import TrainingSetup


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(3, 2)

    def forward(self, x):
        return self.body(x)


def test_keeps_the_very_objects():
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs = {"x": torch.ones(4, 3)}
    setup = TrainingSetup(model=model, inputs=inputs, optimizer=optimizer, loss=F.mse_loss)
    assert setup.model is model
    assert setup.optimizer is optimizer
    assert setup.inputs is inputs
    assert setup.loss is F.mse_loss
    assert setup.with_inputs((torch.ones(1, 3),)).model is model


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": 3}, "model must be a torch.nn.Module, got int 3"),
        ({"model": Net}, "model is the class Net, not an instance: write Net(...)"),
        ({"loss": torch.ones(())}, "loss is a tensor: give the function"),
        (
            {"loss": nn.CrossEntropyLoss},
            "loss is the class CrossEntropyLoss, not an instance: write CrossEntropyLoss()",
        ),
        ({"loss": 3.0}, "loss must be a callable loss(output, targets), got float 3.0"),
        ({"optimizer": torch.optim.Adam}, "write Adam(model.parameters())"),
        ({"optimizer": "adam"}, "optimizer must be a torch.optim.Optimizer, got str 'adam'"),
        ({"inputs": torch.utils.data.DataLoader([1])}, "got a DataLoader: give it as `data`"),
        ({"inputs": torch.ones(2).numpy()}, "use torch.as_tensor"),
        ({"targets": "cat"}, "must be a tensor, tuple or dict, got str 'cat'"),
        ({"data": 3}, "data must be an iterable of batches, got int 3"),
        ({"data": torch.ones(3)}, "data must be an iterable of batches, got a tensor of shape 3"),
        ({"num_classes": 0}, "greater than or equal to 1"),
        ({"precision": "fp8"}, "'fp16' or 'bf16'"),
        ({"modle": 1}, "modle"),
    ],
)
def test_wrong_fields_are_named(fields, message):
    with pytest.raises(ValidationError) as caught:
        TrainingSetup(**{"model": Net(), **fields})
    assert message in str(caught.value)


def test_a_single_name_is_a_list_of_one():
    setup = TrainingSetup(model=Net(), frozen="body.*", declared="stochastic")
    assert setup.frozen == ("body.*",)
    assert setup.declared == frozenset({"stochastic"})


class Echo(nn.Module):
    def forward(self, *args, **kwargs):
        return args, kwargs


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (1, ((1,), {})),
        ((1, 2), ((1, 2), {})),
        ([1, 2], (([1, 2],), {})),
        ({"a": 1}, ((), {"a": 1})),
    ],
)
def test_inputs_are_passed_by_their_form(inputs, expected):
    assert TrainingSetup(model=Echo(), inputs=inputs).call_model() == expected


def test_calling_without_inputs_says_so():
    with pytest.raises(SetupError, match="no inputs") as caught:
        TrainingSetup(model=Net()).call_model()
    assert caught.value.code == "RUN005"


def test_loss_of_output_and_targets():
    setup = TrainingSetup(model=Net(), inputs=torch.ones(4, 3), targets=torch.zeros(4, 2), loss=F.mse_loss)
    output, loss = setup.run()
    assert torch.equal(loss, (output**2).mean())


def test_loss_of_the_output_alone():
    setup = TrainingSetup(model=Net(), loss=lambda output: output.sum())
    assert setup.compute_loss(torch.ones(3)) == 3


def test_loss_without_targets_is_refused():
    with pytest.raises(SetupError, match="no targets") as caught:
        TrainingSetup(model=Net(), loss=F.mse_loss).compute_loss(torch.ones(3))
    assert caught.value.code == "RUN003"


def test_loss_that_is_no_tensor_is_refused():
    with pytest.raises(SetupError, match=r"returned float 1\.5 instead of a tensor"):
        TrainingSetup(model=Net(), loss=lambda output: 1.5).compute_loss(torch.ones(3))


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (SimpleNamespace(loss=torch.tensor(2.0)), 2.0),
        ({"loss": torch.tensor(2.0), "logits": torch.ones(3)}, 2.0),
        ({"box": torch.tensor(1.0), "class": torch.tensor(2.5)}, 3.5),
        ({"logits": torch.ones(3), "scale": torch.tensor(1.0)}, None),
        ({"count": torch.tensor(3)}, None),
        (SimpleNamespace(loss=None), None),
        (torch.ones(3), None),
        ({}, None),
    ],
)
def test_loss_in_the_output(output, expected):
    assert TrainingSetup(model=Net()).compute_loss(output) == expected


def test_own_loss_runs_the_model():
    setup = TrainingSetup(
        model=Net(), inputs=torch.ones(4, 3), targets=1.0, own_loss=lambda model, x, y: (model(x) * 0 + y).mean()
    )
    assert setup.run() == (None, 1.0)
    assert setup.compute_loss(None) == 1.0


def test_moving_moves_the_model_and_every_tensor():
    loss = nn.CrossEntropyLoss(weight=torch.ones(2))
    setup = TrainingSetup(model=Net(), inputs={"x": [torch.ones(3)]}, targets=(torch.ones(1),), loss=loss)
    moved = setup.to("meta")
    assert moved.model is setup.model
    assert moved.model.body.weight.is_meta
    assert moved.inputs["x"][0].is_meta
    assert moved.targets[0].is_meta
    assert loss.weight.is_meta


def test_construction_sites():
    original = nn.Module.__init__
    with ConstructionSites() as sites:
        model = nn.Sequential(Net(), nn.TransformerEncoderLayer(4, 2))
        line = inspect.currentframe().f_lineno - 1
    assert nn.Module.__init__ is original
    places = sites.by_path(model)
    name = "test_construction_sites"
    assert places[""] == Location(__file__, line, name)
    assert places["0"] == Location(__file__, line, name)
    # Built inside Net.__init__, and inside torch's own class: the user's line in both cases.
    body = inspect.getsourcelines(Net)[1] + 3
    assert (places["0.body"].file, places["0.body"].line) == (__file__, body)
    assert places["1.self_attn.out_proj"].line == line


def test_copies_take_the_line_of_their_holder():
    with ConstructionSites() as sites:
        layer = nn.TransformerEncoderLayer(4, 2, batch_first=True)
        model = nn.TransformerEncoder(layer, 2)
        line = inspect.currentframe().f_lineno - 1
    assert sites.by_path(model)["layers.1.linear1"].line == line


def test_construction_is_restored_after_an_error_and_unseen_modules_have_no_site():
    original = nn.Module.__init__
    sites = ConstructionSites()
    with pytest.raises(ZeroDivisionError), sites:
        _ = 1 / 0
    assert nn.Module.__init__ is original
    assert sites.by_path(Net()) == {}


class Noam:
    """A wrapper as people write it: it sets the rate and steps the optimizer inside."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer


def test_the_optimizer_inside_a_wrapper_is_taken() -> None:
    model = nn.Linear(3, 2)
    inner = torch.optim.Adam(model.parameters())
    assert TrainingSetup(model=model, optimizer=Noam(inner)).optimizer is inner


def test_a_wrapper_without_an_optimizer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"optimizer must be a torch\.optim\.Optimizer"):
        TrainingSetup(model=nn.Linear(3, 2), optimizer=Noam("adam"))
