"""Lazy modules with the sizes they will have: parameters without a shape cannot be measured."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from nnlint.guard.state_guard import StateGuard
from nnlint.seeding import seeded
from nnlint.setup.training_setup import call

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup


def materialized(setup: TrainingSetup, *, seed: int) -> TrainingSetup:
    """The setup with its lazy modules replaced by copies that have seen its inputs; the caller's stay as they are.

    Modules without anything lazy in them are shared with the caller's model.
    """
    if setup.inputs is None or not _holds_lazy(setup.model):
        return setup
    # Copied together, so that the optimizer's copy holds the parameters of the copies.
    parts: dict[str, Any] = {name: getattr(setup, name) for name in ("model", "loss", "optimizer", "scheduler")}
    roots = [part for part in parts.values() if isinstance(part, nn.Module)]
    memo: dict[int, Any] = {}
    for root in roots:
        shared = [module for module in root.modules() if not _holds_lazy(module)]
        memo.update((id(kept), kept) for module in shared for kept in (module, *module.parameters()))
    try:
        with StateGuard.capture(setup):
            parts = copy.deepcopy(parts, memo)
            with seeded(seed), torch.no_grad():
                call(parts["model"], setup.inputs)
    except Exception:  # the recorded forward raises as well, and is reported with its place
        return setup
    return setup.with_assumption("lazy modules took their sizes from the inputs, in a copy of the model", **parts)


def _holds_lazy(module: nn.Module) -> bool:
    return any(map(is_lazy, (*module.parameters(), *module.buffers())))
