"""Optimizers as people have them: several over one model, in a list or a dict, of one class or of two."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from nnlint import check
from nnlint.setup import coerce


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal: as in the repositories that do not use torch's own."""

    def __init__(self, params: Any, lr: float = 0.02, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                buffer = state.setdefault("momentum", torch.zeros_like(parameter))
                buffer.mul_(group["momentum"]).add_(parameter.grad)
                left, _, right = torch.linalg.svd(buffer, full_matrices=False)
                parameter.add_(left @ right, alpha=-group["lr"])


class Noam:
    """A schedule around an optimizer, with a step of its own."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    def step(self) -> None:
        self.optimizer.step()


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))


def matrices(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.dim() == 2]


def vectors(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.dim() < 2]


def as_list(model: nn.Module, rate: float) -> Any:
    return [Muon(matrices(model)), torch.optim.AdamW(vectors(model), lr=rate, weight_decay=0.0)]


def as_dict(model: nn.Module, rate: float) -> Any:
    return {"matrices": Muon(matrices(model)), "rest": torch.optim.AdamW(vectors(model), lr=rate, weight_decay=0.0)}


def by_layer(model: nn.Module, rate: float) -> Any:
    return [torch.optim.Adam(model[0].parameters(), lr=1e-3), torch.optim.Adam(model[2].parameters(), lr=rate)]


def by_layer_written_out(model: nn.Module, rate: float) -> Any:
    return [Muon(matrices(model)[:1]), Muon(matrices(model)[1:], lr=rate), torch.optim.SGD(vectors(model), lr=0.1)]


def wrapped(model: nn.Module, rate: float) -> Any:
    return (Noam(Muon(matrices(model))), Noam(torch.optim.AdamW(vectors(model), lr=rate, weight_decay=0.0)))


FORMS = [as_list, as_dict, by_layer, by_layer_written_out, wrapped]


def setup(make: Any, rate: float = 1e-3, **more: Any) -> dict[str, Any]:
    model = net()
    x = torch.randn(64, 20)
    targets = x[:, :5].argmax(1)
    return {
        "model": model,
        "inputs": x,
        "targets": targets,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": make(model, rate),
        **more,
    }


@pytest.mark.parametrize("make", FORMS)
def test_all_are_stepped_and_none_is_missed(make: Any) -> None:
    given = setup(make)
    before = copy.deepcopy(given["model"].state_dict())
    report = check(given, select=["OPT", "GRD", "TRN"])
    assert [(finding.code, finding.message) for finding in report.findings] == []
    assert report.results[0].status == "ok"
    after = given["model"].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("make", FORMS)
def test_a_rate_of_zero_in_one_of_them_is_found(make: Any) -> None:
    found = check(setup(make, 0.0), select=["OPT", "GRD", "TRN"]).findings
    assert "OPT005" in [finding.code for finding in found]


@pytest.mark.parametrize("keep", [0, 1])
def test_weights_that_no_optimizer_holds_are_found(keep: int) -> None:
    given = setup(as_list)
    given["optimizer"] = given["optimizer"][keep : keep + 1]
    assert [finding.code for finding in check(given, select=["OPT001"]).findings] == ["OPT001"]


def test_a_weight_in_two_optimizers_is_found() -> None:
    model = net()
    twice = [Muon(matrices(model)), torch.optim.AdamW(model.parameters(), lr=1e-3)]
    optimizer = coerce(setup(lambda *_: twice) | {"model": model}).optimizer
    assert optimizer is not None
    held = [id(tensor) for group in optimizer.param_groups for tensor in group["params"]]
    assert len(held) == len(set(held)) + 2


def test_the_state_of_each_is_as_before() -> None:
    given = setup(as_list)
    check(given, select=["TRN", "OPT"])
    assert [len(optimizer.state) for optimizer in given["optimizer"]] == [0, 0]


def test_each_group_decays_as_its_own_optimizer() -> None:
    from nnlint.probes.given.optimizer import Optimizer

    model = net()
    given = [
        torch.optim.SGD(matrices(model), lr=0.1, weight_decay=1e-3),
        torch.optim.AdamW(vectors(model), lr=1e-3, weight_decay=0.01),
    ]
    read = Optimizer.from_setup(coerce({"model": model, "inputs": torch.randn(2, 20), "optimizer": given}))
    assert [group.decoupled for group in read.groups] == [False, True]
    assert read.class_name == "SGD and AdamW"


def test_schedulers_of_each() -> None:
    given = setup(as_list)
    given["scheduler"] = [torch.optim.lr_scheduler.StepLR(optimizer, 10) for optimizer in given["optimizer"]]
    assert check(given, select=["OPT"]).results[0].status == "ok"


def test_a_scheduler_in_a_dict_as_lightning_takes_it() -> None:
    given = setup(as_list)
    schedule = torch.optim.lr_scheduler.StepLR(given["optimizer"][0], 10)
    given["scheduler"] = {"interval": "epoch", "scheduler": schedule}
    assert coerce(given).scheduler is schedule


def test_a_tuple_may_hold_them() -> None:
    model = net()
    assert coerce((model, torch.randn(4, 20), as_list(model, 1e-3))).optimizer is not None
    assert coerce((model, torch.randn(4, 20), Noam(Muon(matrices(model))))).optimizer is not None


REFUSED = {
    "nothing": None,
    "a class": nn.Linear,
    "no model": (torch.zeros(1),),
    "unknown key": {"model": net(), "modle": 1},
    "unclear": (net(), 3),
    "an empty list": {"model": net(), "optimizer": []},
    "a number": {"model": net(), "optimizer": 0.1},
    "the name of a schedule": {"model": net(), "scheduler": "cosine"},
    "a function of the step": {"model": net(), "scheduler": [lambda step: 0.1]},
    "the class of a schedule": {"model": net(), "scheduler": torch.optim.lr_scheduler.StepLR},
    "raises": lambda: 1 / 0,
    "data raises": {"model": net(), "data": (1 / 0 for _ in range(3))},
    "no data": {"model": net(), "data": []},
    "a missing file": "no_such_file.py:build",
}


@pytest.mark.parametrize("target", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_loaded_says_what_to_change(target: Any) -> None:
    (result,) = check(target).results
    assert [(finding.code, bool(finding.fix)) for finding in result.findings] == [("RUN001", True)]
