"""Losses by name, made-up targets, devices, and walking structures."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nnlint.setup import SetupError, SetupOptions, coerce
from nnlint.setup.complete import check_device
from nnlint.setup.losses import _FUNCTIONS, named_loss
from nnlint.tensors import describe, map_tensors, summary, tensors_in


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 3)

    def forward(self, x):
        return self.body(x)


class Volume(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.shape, self.body = shape, nn.Linear(4, torch.Size(shape).numel())

    def forward(self, x):
        return self.body(x).reshape(-1, *self.shape)


@pytest.mark.parametrize("name", sorted(_FUNCTIONS))
def test_named_losses_get_targets(name):
    model = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid())
    setup = coerce(model, SetupOptions(loss=name))
    assert setup.targets_assumed
    assert "targets are made up" in setup.assumptions[1]
    assert torch.isfinite(setup.run()[1])


@pytest.mark.parametrize(
    ("loss", "shape", "classes", "targets", "bound"),
    [
        (F.cross_entropy, (3,), None, "8 int64", 3),
        (F.cross_entropy, (3,), 2, "8 int64", 2),
        (nn.CrossEntropyLoss(), (3, 5, 5), None, "8x5x5 int64", 3),
        ("cross_entropy", (5, 3), None, "8x5 int64", 3),
        ("cross_entropy", (3, 5), 3, "8x5 int64", 3),
        (lambda o, t: F.nll_loss(o.log_softmax(1), t), (3,), None, "8 int64", 3),
        (F.mse_loss, (3,), None, "8x3 float32", None),
        (nn.L1Loss(), (1,), None, "8x1 float32", None),
        (lambda o, t: F.mse_loss(o, t) * 2, (8,), None, "8x8 float32", None),
        (nn.BCEWithLogitsLoss(), (1,), None, "8x1 float32", 2),
        (lambda o, t: (o - t).abs().mean(), (1,), None, "8x1 float32", None),
        (lambda o, t: -o.log_softmax(1).gather(1, t[:, None]).mean(), (3,), None, "8 int64", 3),
    ],
)
def test_made_up_targets(loss, shape, classes, targets, bound):
    setup = coerce({"model": Volume(*shape), "loss": loss}, SetupOptions(classes=classes))
    assert summary(setup.targets) == targets
    assert setup.num_classes == classes
    if bound is not None:
        assert set(setup.targets.flatten().tolist()) <= set(range(bound))
    assert setup.run()[1].dim() == 0


def test_no_targets_are_made_up_where_none_are_needed_or_possible():
    assert coerce(Net()).targets is None
    assert coerce({"model": Net(), "loss": lambda output: output.sum()}).targets is None
    assert coerce({"model": Net(), "loss": lambda output, targets: targets["boxes"].sum()}).targets is None
    assert not coerce(
        {"model": Net(), "inputs": torch.ones(2, 4), "targets": torch.ones(2, 3), "loss": F.mse_loss}
    ).targets_assumed


def test_named_losses_find_the_prediction():
    loss, target = named_loss("mse"), torch.zeros(2, 3)
    for output in (
        torch.ones(2, 3),
        (torch.ones(2, 3), 0),
        {"logits": torch.ones(2, 3)},
        SimpleNamespace(logits=torch.ones(2, 3)),
    ):
        assert loss(output, target) == 1
    with pytest.raises(SetupError, match="holds no tensor"):
        loss({"a": 3}, target)
    with pytest.raises(SetupError, match="unknown loss 'zzz'") as caught:
        named_loss("zzz")
    assert caught.value.fix.startswith("write one of cross_entropy, bce")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", ""])
def test_unknown_devices(name):
    with pytest.raises(SetupError, match="unknown device"):
        check_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_an_absent_device_is_named():
    with pytest.raises(SetupError, match="device 'cuda' is not available") as caught:
        coerce(Net(), SetupOptions(device="cuda"))
    assert caught.value.code == "RUN001"


def test_a_device_that_is_there():
    setup = coerce(Net(), SetupOptions(device="cpu"))
    assert setup.inputs.device == torch.device("cpu")


def test_walking_structures():
    nested = {"a": [torch.ones(1), (torch.zeros(2), 3)], "b": "text"}
    assert [t.numel() for t in tensors_in(nested)] == [1, 2]
    doubled = map_tensors(lambda t: t * 2, nested)
    assert doubled["a"][0] == 2
    assert doubled["a"][1][1] == 3
    assert doubled["b"] == "text"
    assert nested["a"][0] == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"), (torch.ones(2, 3), "a tensor of shape 2x3"), (Net, "the class Net"), ([1], "a list"),
        ((1, "a"), "a tuple (int 1, str 'a')"), ({"k": 1}, "a dict with keys 'k'"), (len, "the function len"),
        (nn.Identity(), "an Identity"), (True, "bool True"),
        (tuple(range(9)), "a tuple (int 0, int 1, int 2, int 3, int 4, int 5, ...)"),
    ],
)  # fmt: skip
def test_descriptions(value, text):
    assert describe(value) == text
