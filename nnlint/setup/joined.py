"""Several optimizers over one loss (one for each layer, one for matrices and one for the rest) as the one optimizer of a setup."""

from __future__ import annotations

import copy
import inspect
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.optim import Optimizer


def joined(optimizers: Sequence[Optimizer]) -> Optimizer | None:
    """One optimizer with the groups of all; the very object where there is one, None where there is none."""
    if len(optimizers) < 2:
        return next(iter(optimizers), None)
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    if _are_plain(optimizers):
        made = copy.copy(optimizers[0])
        made.param_groups = groups
        made.state = defaultdict(dict)
        for optimizer in optimizers:
            made.state.update(optimizer.state)
        return made
    names = dict.fromkeys(type(optimizer).__name__ for optimizer in optimizers)
    kind = type(" and ".join(names), (JoinedOptimizers,), {})  # what a report calls it
    found: Optimizer = kind(optimizers, groups)
    return found


def _are_plain(optimizers: Sequence[Optimizer]) -> bool:
    """Whether all are of one class of torch, whose whole state is groups and state: a copy steps the groups of all alike."""
    kinds = {type(optimizer) for optimizer in optimizers}
    of_torch = all(kind.__module__.startswith("torch.optim.") for kind in kinds)
    return len(kinds) == 1 and of_torch and not needs_closure(optimizers[0])


def needs_closure(optimizer: Optimizer) -> bool:
    """Whether `step` cannot do without a closure (LBFGS)."""
    if isinstance(optimizer, JoinedOptimizers):
        return optimizer.needs_closure
    parameter = inspect.signature(optimizer.step).parameters.get("closure")
    return parameter is not None and parameter.default is inspect.Parameter.empty


def kind_of(optimizer: Any, group: Any) -> type:
    """The class of the optimizer that steps a group: of one among several where these are joined."""
    if isinstance(optimizer, JoinedOptimizers):
        return optimizer.kind_of(group)
    return type(optimizer)


class JoinedOptimizers(Optimizer):
    """Steps all of them; the groups are the optimizers' own."""

    def __init__(self, optimizers: Sequence[Optimizer], groups: list[dict[str, Any]]) -> None:
        super().__init__([{"params": list(groups[0]["params"])}], {})
        self.param_groups = groups
        self._optimizers = list(optimizers)
        #: For the guard, which follows dicts but no optimizers inside of others.
        self._tables = [vars(optimizer) for optimizer in optimizers]

    def kind_of(self, group: Any) -> type:
        """The class of the optimizer that the group is from."""
        owners = (one for one in self._optimizers if any(own is group for own in one.param_groups))
        return type(next(owners, self))

    @property
    def needs_closure(self) -> bool:
        """Whether one of them cannot step without a closure."""
        return any(map(needs_closure, self._optimizers))

    def step(self, closure: Any = None) -> Any:
        """A step of each: from the gradients that are there, and then of those that compute their own by the closure."""
        alone = [optimizer for optimizer in self._optimizers if needs_closure(optimizer)]
        loss = None
        if closure is not None and not alone:
            with torch.enable_grad():
                loss = closure()
        for optimizer in self._optimizers:
            if optimizer not in alone:
                optimizer.step()
        for optimizer in alone:
            step: Callable[..., Any] = optimizer.step
            loss = step(closure)
        return loss
