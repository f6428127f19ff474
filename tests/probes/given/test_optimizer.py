"""Optimizer evidence: groups, what is missing, what is not the model's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from nnlint.finding import Skip
from nnlint.probes.given.optimizer import Optimizer
from nnlint.setup.training_setup import TrainingSetup


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


def test_no_optimizer_is_a_skip_with_its_reason() -> None:
    with pytest.raises(Skip, match="no optimizer given"):
        Optimizer.from_setup(TrainingSetup(model=net()))


def test_groups_and_their_settings() -> None:
    model = net()
    decayed, plain = [model[0].weight], [model[0].bias]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "lr": torch.tensor(0.5), "weight_decay": 0.0}],
        lr=1e-3, betas=(0.8, 0.95), eps=1e-7,
    )  # fmt: skip
    seen = Optimizer.from_setup(TrainingSetup(model=model, optimizer=optimizer))
    first, second = seen.groups
    assert (seen.class_name, seen.label, seen.wrapper) == ("AdamW", "AdamW", None)
    assert (first.names, first.lr, first.weight_decay) == (("0.weight",), 1e-3, 0.1)
    assert (second.names, second.lr, second.weight_decay) == (("0.bias",), 0.5, 0.0)
    assert (first.betas, first.eps, first.momentum, first.maximize) == ((0.8, 0.95), 1e-7, None, False)
    assert first.decoupled
    assert seen.learning_rates == (1e-3, 0.5)


def test_decay_of_adam_is_not_decoupled() -> None:
    model = net()
    seen = Optimizer.read(torch.optim.Adam(model.parameters(), weight_decay=0.1), model)
    assert not seen.groups[0].decoupled


def test_missing_are_the_trainable_ones_in_no_group() -> None:
    model = net()
    model[1].weight.requires_grad_(False)
    seen = Optimizer.read(torch.optim.SGD(model[0].parameters(), lr=0.1), model)
    assert seen.missing == ("1.bias", "2.weight", "2.bias")


def test_foreign_tensors_are_those_of_a_replaced_head() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model[2] = nn.Linear(3, 7)
    seen = Optimizer.read(optimizer, model)
    assert [tensor.shape for tensor in seen.foreign] == [(2, 3), (2,)]
    assert seen.missing == ("2.weight", "2.bias")
    assert seen.groups[0].momentum == 0.9


def test_parameters_of_the_loss_module_are_not_foreign() -> None:
    model, loss = net(), nn.Linear(2, 1)
    optimizer = torch.optim.SGD([*model.parameters(), *loss.parameters()], lr=0.1)
    assert Optimizer.from_setup(TrainingSetup(model=model, loss=loss, optimizer=optimizer)).foreign == ()


def test_frozen_parameters_in_a_group() -> None:
    model = net()
    model[0].requires_grad_(False)
    seen = Optimizer.read(torch.optim.SGD(model.parameters(), lr=0.1), model)
    assert [tensor.name for tensor in seen.frozen] == ["0.weight", "0.bias"]


def test_steps_taken_are_read_from_the_state() -> None:
    model = net()
    optimizer = torch.optim.Adam(model.parameters())
    assert Optimizer.read(optimizer, model).steps == 0
    for _ in range(3):
        model(torch.randn(4, 4)).sum().backward()
        optimizer.step()
    assert Optimizer.read(optimizer, model).steps == 3


def test_scheduler_and_whether_it_drives_this_optimizer() -> None:
    model = net()
    optimizer, other = (torch.optim.SGD(model.parameters(), lr=0.1) for _ in range(2))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.2)
    seen = Optimizer.from_setup(TrainingSetup(model=model, optimizer=optimizer, scheduler=scheduler)).scheduler
    assert seen is not None
    assert (seen.class_name, seen.matches) == ("StepLR", True)
    assert (seen.settings["step_size"], seen.settings["gamma"]) == (5, 0.2)
    stale = Optimizer.read(other, model, scheduler=scheduler).scheduler
    assert stale is not None
    assert stale.matches is False


def test_wrapped_optimizers_are_read_through() -> None:
    model = net()
    inner = torch.optim.Adam(model.parameters(), lr=0.1)
    wrapper: Any = SimpleNamespace(optimizer=inner, param_groups=inner.param_groups)
    seen = Optimizer.read(wrapper, model)
    assert seen.label == "Adam in SimpleNamespace"
    assert seen.missing == ()


def test_an_object_without_groups_is_skipped() -> None:
    with pytest.raises(Skip, match="no param_groups"):
        Optimizer.read(object(), net())
