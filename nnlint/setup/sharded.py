"""Models whose parameters are spread over ranks (`fully_shard`, tensor parallelism): the whole model is checked.

Every rank gathers the parameters once and checks a copy of its own, in which nothing communicates: no rank waits for another
afterwards, whatever its batch makes the probes do.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from nnlint.capture.torch_private import meet_ranks
from nnlint.setup.errors import SetupError
from nnlint.setup.training_setup import TrainingSetup

_WAIT = 120.0  # seconds for the other ranks to come to the check
_DISTRIBUTED = "torch.distributed"
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_hooks", "_backward_pre_hooks")


def whole(setup: TrainingSetup) -> TrainingSetup:
    """The setup with a copy of its model that holds whole parameters; the setup itself where nothing is sharded.

    Raises:
        SetupError: RUN001: other ranks did not come, so that the parameters cannot be gathered.
    """
    if not any(map(_is_sharded, setup.model.parameters())):
        return setup
    if not meet_ranks(_WAIT):
        message = "the model is sharded, and its parameters can only be gathered where every rank calls nnlint.check"
        raise SetupError("RUN001", f"{message}: not all came within {_WAIT:g} s")
    gathered = _Gathered()
    model = gathered.module(setup.model)
    changes: dict[str, Any] = {"model": model}
    if setup.optimizer is not None:
        changes["optimizer"] = gathered.optimizer(setup.optimizer)
    if setup.scheduler is not None and "optimizer" in changes:
        changes["scheduler"] = copy.copy(setup.scheduler)
        changes["scheduler"].optimizer = changes["optimizer"]
    return setup.with_assumption(
        "a copy of the sharded model with whole parameters is checked, on each rank by itself", **changes
    )


def _is_sharded(tensor: Any) -> bool:
    return callable(getattr(tensor, "full_tensor", None)) and hasattr(tensor, "placements")


class _Gathered:
    """Copies of modules and optimizers in which every sharded tensor is whole."""

    def __init__(self) -> None:
        self._tensors: dict[int, torch.Tensor] = {}
        self._modules: dict[int, nn.Module] = {}

    def tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        """The whole of a sharded tensor, once; any other tensor itself."""
        if not _is_sharded(tensor):
            return tensor
        if id(tensor) not in self._tensors:
            shard: Any = tensor
            full: torch.Tensor = shard.detach().full_tensor().clone()
            is_parameter = isinstance(tensor, nn.Parameter)
            self._tensors[id(tensor)] = nn.Parameter(full, requires_grad=tensor.requires_grad) if is_parameter else full
        return self._tensors[id(tensor)]

    def module(self, module: nn.Module) -> nn.Module:
        """A copy of the class that the user wrote, without the hooks that gather and scatter."""
        if id(module) in self._modules:
            return self._modules[id(module)]
        kind = next(base for base in type(module).__mro__ if not base.__module__.startswith(_DISTRIBUTED))
        made: Any = object.__new__(kind)
        self._modules[id(module)] = made
        kept = {name: copy.copy(value) if isinstance(value, dict) else value for name, value in vars(module).items()}
        vars(made).update({name: value for name, value in kept.items() if not _is_of_sharding(name)})
        for table in ("_parameters", "_buffers"):
            held = vars(made)[table]
            held.update({name: self.tensor(tensor) for name, tensor in held.items() if tensor is not None})
        children = vars(made)["_modules"]
        children.update({name: self.module(child) for name, child in children.items() if child is not None})
        for table in _HOOKS:
            hooks = vars(made)[table]
            for key in [key for key, hook in hooks.items() if _module_of(hook).startswith(_DISTRIBUTED)]:
                del hooks[key]
        found: nn.Module = made
        return found

    def optimizer(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """A copy that holds the whole parameters and their state."""
        made = copy.copy(optimizer)
        made.param_groups = [
            {**group, "params": [self.tensor(parameter) for parameter in group["params"]]}
            for group in optimizer.param_groups
        ]
        made.state = type(optimizer.state)(optimizer.state.default_factory)
        for parameter, state in optimizer.state.items():
            values = {
                name: self.tensor(value) if isinstance(value, torch.Tensor) else value for name, value in state.items()
            }
            made.state[self.tensor(parameter)] = values
        return made


def _is_of_sharding(name: str) -> bool:
    return name.startswith(("__composable_api", "_fsdp", "_is_fsdp"))


def _module_of(hook: Any) -> str:
    return str(getattr(hook, "__module__", "") or getattr(type(hook), "__module__", ""))
