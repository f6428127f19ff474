"""What the user's scheduler raises: an error of the training is a finding, a schedule at its end is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

import nnlint


def lambda_that_divides_by_zero(optimizer: Any) -> Any:
    return lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 if step == 0 else 1.0 / (step - step))


def subclass_with_a_missing_attribute(optimizer: Any) -> Any:
    class Warmup(lr_scheduler.LRScheduler):
        def get_lr(self) -> list[float]:
            if self.last_epoch == 0:
                return list(self.base_lrs)
            return [rate * self.factor for rate in self.base_lrs]

    return Warmup(optimizer)


def plain_object_that_forgets_a_name(optimizer: Any) -> Any:
    class Noam:
        def __init__(self) -> None:
            self.optimizer = optimizer

        def step(self) -> None:
            raise NameError("warmup_steps")

    return Noam()


def method_that_fails_at_the_fifth_step(optimizer: Any) -> Any:
    class Decay:
        def factor(self, step: int) -> float:
            return 1.0 if step < 5 else {"five": 1.0}["five"] + None  # type: ignore[operator]

    return lr_scheduler.LambdaLR(optimizer, Decay().factor)


def lambda_in_a_sequence(optimizer: Any) -> Any:
    first = lr_scheduler.ConstantLR(optimizer, 1.0, 2)
    later = lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 if step == 0 else torch.ones(2).view(3).sum().item())
    return lr_scheduler.SequentialLR(optimizer, [first, later], [2])


def table_indexed_wrongly_at_once(optimizer: Any) -> Any:
    return lr_scheduler.LambdaLR(optimizer, lambda step: [1.0][step])


@pytest.mark.parametrize(
    "make",
    [
        lambda_that_divides_by_zero,
        subclass_with_a_missing_attribute,
        plain_object_that_forgets_a_name,
        method_that_fails_at_the_fifth_step,
        lambda_in_a_sequence,
        table_indexed_wrongly_at_once,
    ],
)
def test_what_a_scheduler_raises_is_a_finding(make: Callable[[Any], Any]) -> None:
    (failure,) = (finding for finding in _check(make) if finding.code.startswith("RUN"))
    assert failure.code == "RUN008"
    assert failure.location is not None and failure.location.file.endswith("test_schedule.py")
    assert "schedule" in failure.message


def one_cycle_that_ends(optimizer: Any) -> Any:
    return lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=4)


def plateau(optimizer: Any) -> Any:
    return lr_scheduler.ReduceLROnPlateau(optimizer)


def plateau_of_the_user(optimizer: Any) -> Any:
    class Plateau:
        best = 1.0

        def step(self, loss: float | None = None) -> None:
            self.best = min(self.best, loss)  # type: ignore[type-var]

    return Plateau()


def table_of_five_epochs(optimizer: Any) -> Any:
    return lr_scheduler.LambdaLR(optimizer, lambda epoch: [1.0, 0.9, 0.8, 0.5, 0.1][epoch])


def generator_that_ends(optimizer: Any) -> Any:
    class Rates:
        rates = iter([1e-3, 1e-3, 1e-4])

        def step(self) -> None:
            optimizer.param_groups[0]["lr"] = next(self.rates)

    return Rates()


def schedule_that_refuses_more_steps(optimizer: Any) -> Any:
    def factor(step: int) -> float:
        if step > 8:
            raise ValueError("the schedule has 8 steps")
        return 1.0 - step / 9

    return lr_scheduler.LambdaLR(optimizer, factor)


def cosine(optimizer: Any) -> Any:
    return lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)


@pytest.mark.parametrize(
    "make",
    [
        one_cycle_that_ends,
        plateau,
        plateau_of_the_user,
        table_of_five_epochs,
        generator_that_ends,
        schedule_that_refuses_more_steps,
        cosine,
    ],
)
def test_a_schedule_at_its_end_or_one_that_wants_a_metric_is_none(make: Callable[[Any], Any]) -> None:
    assert [finding.code for finding in _check(make) if finding.level.value != "info"] == []


def test_the_steps_are_measured_all_the_same() -> None:
    model, optimizer = _parts()
    report = nnlint.check(_setup(model, optimizer, lambda_that_divides_by_zero(optimizer)), select=["OPT", "TRN"])
    skipped = {skipped.code for skipped in report.skipped if "RUN008" in skipped.reason}
    assert skipped == set()


def _parts() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    return model, torch.optim.Adam(model.parameters(), lr=1e-3)


def _setup(model: nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any) -> dict[str, Any]:
    return {
        "model": model,
        "inputs": torch.randn(32, 8),
        "targets": torch.arange(32) % 4,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": optimizer,
        "scheduler": scheduler,
    }


def _check(make: Callable[[Any], Any]) -> list[Any]:
    model, optimizer = _parts()
    return nnlint.check(_setup(model, optimizer, make(optimizer)), select=["OPT004", "OPT012", "TRN002"]).findings
