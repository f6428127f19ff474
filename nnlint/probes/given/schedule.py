"""The learning rates a scheduler will set: a twin of it is stepped, on an optimizer without tensors."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch.optim import lr_scheduler

from nnlint.probes.torch_errors import one_line
from nnlint.seeding import seeded

#: Schedulers that answer to a metric set no rates of their own.
_BY_METRIC = (lr_scheduler.ReduceLROnPlateau,)


def future_rates(scheduler: Any, steps: int) -> tuple[tuple[float, ...], str]:
    """Learning rate of the first group now and after each of the next steps, and what ended the forecast early; empty if nothing did.

    The twin shares no state that stepping writes to: its optimizer is a stand-in, and its lists and nested schedulers are copies.
    """
    if not isinstance(scheduler, lr_scheduler.LRScheduler) or isinstance(scheduler, _BY_METRIC):
        return (), ""
    rates: list[float] = []
    with warnings.catch_warnings(), seeded(0):
        warnings.simplefilter("ignore")
        try:
            twin = _twin(scheduler, _stand_in(scheduler.optimizer))
            rates.append(float(twin.optimizer.param_groups[0]["lr"]))
            for _ in range(steps):
                twin.step()
                rates.append(float(twin.optimizer.param_groups[0]["lr"]))
        except Exception as error:  # OneCycleLR past its end, a user's scheduler that needs the real optimizer
            return tuple(rates), f"stepping a copy of {type(scheduler).__name__} raised {one_line(error)}"
    return tuple(rates), ""


def _stand_in(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """An optimizer with the same settings and one tensor in each group."""
    groups = [{"params": [torch.zeros(1, requires_grad=True)]} for _ in optimizer.param_groups]
    made = torch.optim.SGD(groups, lr=0.0)
    for group, original in zip(made.param_groups, optimizer.param_groups, strict=True):
        group.update({name: _plain(value) for name, value in original.items() if name != "params"})
    made.defaults.update(optimizer.defaults)
    return made


def _twin(scheduler: Any, optimizer: torch.optim.Optimizer) -> Any:
    twin = object.__new__(type(scheduler))
    for name, value in vars(scheduler).items():
        vars(twin)[name] = _copied(value, optimizer)
    vars(twin)["optimizer"] = optimizer
    return twin


def _copied(value: Any, optimizer: torch.optim.Optimizer) -> Any:
    if isinstance(value, lr_scheduler.LRScheduler):
        return _twin(value, optimizer)
    if isinstance(value, list):
        return [_copied(item, optimizer) for item in value]
    return dict(value) if isinstance(value, dict) else _plain(value)


def _plain(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value
