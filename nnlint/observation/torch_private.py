"""What the observation touches of torch that torch does not promise; see `nnlint.capture.torch_private` for the rest.

The entry of autograd's engine is patched because no public hook is told of a backward as a whole, and the iterator of a DataLoader
because a wrapper around the loader would be seen by the script.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import torch
from torch import nn, overrides
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode
from torch.utils.data.dataloader import _BaseDataLoaderIter

#: Module and name of the one function behind `Tensor.backward`, `autograd.backward` and `autograd.grad`.
ENGINE = (torch.autograd, "_engine_run_backward")
#: The base of a DataLoader's iterators, whose `__next__` makes a batch.
LOADER_ITERATOR: Any = _BaseDataLoaderIter
#: Methods of it that draw the indices of the next batch, and begin a further pass.
DRAW, RESTART = "_next_index", "_reset"

_TABLES = ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set")
_SAVED = "_saved_"
#: What a module is walked by, unless its class walks in its own way.
_NAMED = ("named_modules", "named_parameters", "named_buffers")

Contents: TypeAlias = "tuple[list[tuple[str, nn.Module]], list[tuple[str, Any]], list[tuple[str, Any]]]"


def is_dropout(module: nn.Module) -> bool:
    """Whether a module is one of torch's dropout layers."""
    return isinstance(module, _DropoutNd)


def is_batch_norm(module: nn.Module) -> bool:
    """Whether a module is one of torch's batch norms."""
    return isinstance(module, _BatchNorm)


def children_of(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """The submodules in a module's attributes, by name; empty for other objects."""
    found = table.get(_TABLES[0])
    return found if isinstance(found, Mapping) else {}


def is_initialized(module: nn.Module) -> bool:
    """Whether `nn.Module.__init__` has run."""
    return _TABLES[1] in vars(module)


def share_parts(made: nn.Module, owner: nn.Module) -> None:
    """Let `made` have the very submodules, parameters and buffers of `owner`."""
    for table in _TABLES:
        vars(made)[table] = vars(owner)[table]


def contents_of(module: nn.Module) -> Contents:
    """What `named_modules`, `named_parameters` and `named_buffers` give: by one walk, since every forward asks."""
    if not all(getattr(type(module), name) is getattr(nn.Module, name) for name in _NAMED):
        return list(module.named_modules()), list(module.named_parameters()), list(module.named_buffers())
    modules: list[tuple[str, nn.Module]] = []
    seen: set[int] = set()
    waiting = [("", module)]
    while waiting:
        path, child = waiting.pop()
        if id(child) in seen:
            continue
        seen.add(id(child))
        modules.append((path, child))
        dot = f"{path}." if path else ""
        inner = [(dot + name, below) for name, below in child._modules.items() if below is not None]
        waiting += reversed(inner)
    parameters, buffers = (_named(modules, table, seen) for table in ("_parameters", "_buffers"))
    return modules, parameters, buffers


def _named(modules: list[tuple[str, nn.Module]], table: str, seen: set[int]) -> list[tuple[str, Any]]:
    """The tensors in a table of each module, each once."""
    found = []
    for path, child in modules:
        dot = f"{path}." if path else ""
        for name, tensor in getattr(child, table).items():
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                found.append((dot + name, tensor))
    return found


def sequence_number(node: Any) -> int:
    """The number of an autograd node, in the order of making."""
    return int(node._sequence_nr())


def next_sequence_number() -> int | None:
    """The number that the next autograd node of this thread gets; None where torch does not say."""
    known: Any = getattr(torch.autograd, "_get_sequence_nr", None)
    return int(known()) if known is not None else None


def saved_names(node: Any) -> list[str]:
    """The attributes in which an autograd node shows what it keeps for the backward."""
    return [name for name in dir(type(node)) if name.startswith(_SAVED)]


def saved(node: Any, name: str) -> Any:
    """What a node keeps under `name` ("other", "reduction"); None where it keeps nothing, or has freed it."""
    try:
        return getattr(node, name if name.startswith(_SAVED) else f"{_SAVED}{name}", None)
    except Exception:  # freed, written to in place since, or of a kind that python cannot be shown
        return None


def insert_function_mode(mode: TorchFunctionMode) -> None:
    """Put a mode below all others on the stack: a `with` block of the user's may end before ours, or begin inside it."""
    above = _lifted(None)
    overrides._push_mode(mode)
    _put_back(above)


def function_modes() -> list[TorchFunctionMode]:
    """The modes that are active, outermost first."""
    return list(overrides._get_current_function_mode_stack())


def remove_function_mode(mode: TorchFunctionMode) -> None:
    """Take a mode off the stack, wherever it is; nothing where it is not on it."""
    if any(found is mode for found in overrides._get_current_function_mode_stack()):
        _put_back(_lifted(mode))


def _lifted(until: TorchFunctionMode | None) -> list[TorchFunctionMode]:
    """Take modes off the stack down to `until`, which goes too; all of them for None."""
    taken: list[TorchFunctionMode] = []
    while overrides._get_current_function_mode_stack():
        top = overrides._pop_mode()
        if top is until:
            break
        taken.append(top)
    return taken


def _put_back(modes: list[TorchFunctionMode]) -> None:
    for mode in reversed(modes):
        overrides._push_mode(mode)
