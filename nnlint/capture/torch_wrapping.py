"""What torch does not promise about models that are wrapped or spread over ranks, and about fake tensors."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
from torch import nn

from nnlint.capture.torch_private import undecided_errors
from nnlint.frames import is_raised_by_user, text_of

_DISTRIBUTED = "torch.distributed"
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_hooks", "_backward_pre_hooks")


def children_of(module: nn.Module) -> Mapping[str, nn.Module]:
    """The children by name, whatever `named_children` of the class says; none of scripted modules, which keep theirs in C++."""
    children = vars(module).get("_modules")
    return (
        {name: child for name, child in children.items() if isinstance(child, nn.Module)}
        if isinstance(children, dict)
        else {}
    )


def refused_by_fake_tensors(error: BaseException) -> bool:
    """Whether a forward on shapes alone raised because fake tensors cannot carry it out, and not by a fault of its own."""
    files = [frame.f_code.co_filename.replace("\\", "/") for frame, _ in traceback.walk_tb(error.__traceback__)]
    inside = bool(files) and any(part in files[-1] for part in ("/torch/_subclasses/", "/torch/nested/_internal/"))
    undecided = isinstance(error, undecided_errors()) and not (
        type(error) is NotImplementedError and is_raised_by_user(error)
    )
    return inside or undecided or "FakeTensor" in text_of(error)


def meet_ranks(seconds: float) -> bool:
    """Wait until every rank of the process group has come here as often as this one; whether they all did in time.

    By the store through which the ranks found each other: a barrier of the group itself would hang where one does not come.
    """
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return True
    try:
        from torch.distributed.distributed_c10d import _get_default_store as store_of
    except ImportError:  # this torch has none: a rank that does not come is waited for
        return True
    store, rank = store_of(), torch.distributed.get_rank()
    call = store.add(f"nnlint/calls/{rank}", 1)
    store.set(f"nnlint/{call}/{rank}", "here")
    keys = [f"nnlint/{call}/{other}" for other in range(torch.distributed.get_world_size())]
    try:
        store.wait(keys, timedelta(seconds=seconds))
    except RuntimeError:
        return False
    return True


#: Wrappers of a model: the attribute that holds the model, by the class's qualified name. Importing the classes costs seconds.
_WRAPPERS = {
    "torch._dynamo.eval_frame.OptimizedModule": ("_orig_mod", "compiled"),
    "torch.nn.parallel.data_parallel.DataParallel": ("module", "parallel"),
    "torch.nn.parallel.distributed.DistributedDataParallel": ("module", "parallel"),
}


def wrapped_model(model: nn.Module) -> tuple[nn.Module, str] | None:
    """The model inside one that is compiled or data-parallel, and which of the two it is; None for any other."""
    for kind in type(model).__mro__:
        known = _WRAPPERS.get(f"{kind.__module__}.{kind.__qualname__}")
        inner = getattr(model, known[0], None) if known is not None else None
        if known is not None and isinstance(inner, nn.Module):
            return inner, known[1]
    return None


def is_sharded(tensor: Any) -> bool:
    """Whether the tensor is this rank's part of a tensor that is spread over ranks."""
    return callable(getattr(tensor, "full_tensor", None)) and hasattr(tensor, "placements")


class Gathered:
    """Copies of modules and optimizers in which every sharded tensor is whole."""

    def __init__(self) -> None:
        self._tensors: dict[int, torch.Tensor] = {}
        self._modules: dict[int, nn.Module] = {}

    def tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        """The whole of a sharded tensor, once; any other tensor itself."""
        if not is_sharded(tensor):
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
