"""The state in which a script's training began: parameters, buffers and optimizers as they were before the first step.

Copies of what lies on a GPU are kept in the host's memory: the script may need all that is left on the device.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from nnlint.guard.state_guard import StateGuard
from nnlint.tensors import map_tensors, tensors_in


class Initial:
    """Copies of tensors and of optimizers' states, each taken once."""

    def __init__(self) -> None:
        self._tensors: dict[int, tuple[Tensor, Tensor]] = {}
        self._devices: dict[int, torch.device] = {}  # of the copies' originals, by id of the copy
        self._optimizers: dict[int, tuple[Any, dict[Any, Any], list[dict[str, Any]]]] = {}
        self._modes: dict[int, tuple[nn.Module, bool]] = {}
        self._attributes: dict[int, tuple[nn.Module, dict[str, Any]]] = {}

    def keep(self, module: nn.Module) -> None:
        """Copy a module's parameters and buffers and note the modes it runs in, where they are new."""
        for part in module.modules():
            self._modes.setdefault(id(part), (part, part.training))
            if id(part) not in self._attributes:
                self._attributes[id(part)] = (part, _plain_attributes(part))
        for tensor in (*module.parameters(), *module.buffers()):
            self._keep(tensor)

    def keep_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Copy an optimizer's parameters, state and settings, where it is new."""
        if id(optimizer) in self._optimizers:
            return
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                self._keep(parameter)
        state = {key: map_tensors(self._copied, value) for key, value in optimizer.state.items()}
        groups = [
            {name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups
        ]
        groups = [map_tensors(self._copied, group) for group in groups]
        self._optimizers[id(optimizer)] = (optimizer, state, groups)

    def _keep(self, tensor: Tensor) -> None:
        if id(tensor) not in self._tensors and tensor.is_leaf and not is_lazy(tensor):
            self._tensors[id(tensor)] = (tensor, self._copied(tensor))

    def _copied(self, tensor: Tensor) -> Tensor:
        """A copy that lives as long as this object."""
        on_host = tensor.is_cuda and type(tensor) in (Tensor, nn.Parameter)
        copy = tensor.detach().to("cpu", copy=True) if on_host else tensor.detach().clone()
        self._devices[id(copy)] = tensor.device
        return copy

    def _anew(self, copy: Tensor) -> Tensor:
        """The copy's contents where the original was."""
        return copy.to(self._devices[id(copy)], copy=True)

    @contextmanager
    def back(self, *roots: object, trainable: Iterable[tuple[Tensor, bool]] = ()) -> Iterator[None]:
        """Inside the block everything is as it was at the beginning; afterwards as it is now, bit for bit.

        Args:
            roots: the models, losses and optimizers that are about to be used.
            trainable: whether each of these parameters requires gradients there.
        """
        models = [root for root in roots if isinstance(root, nn.Module)]
        with torch.enable_grad(), _flagged(trainable), StateGuard(models[0], *models[1:], *(root for root in roots if root not in models)):
            with torch.no_grad():
                for tensor, copy in self._tensors.values():
                    if tensor.device != self._devices[id(copy)]:  # a trainer takes the model off it when it is done
                        tensor.data = self._anew(copy)
                    elif tensor.shape == copy.shape:
                        tensor.detach().copy_(copy)
            for part, training in self._modes.values():
                part.training = training  # the script may have stopped in an evaluation
            if self._without_graphs():  # the script cuts it after each iteration: here each call of the model does
                models[0].register_forward_pre_hook(self._cut)
            for optimizer, state, groups in self._optimizers.values():
                if any(optimizer is root for root in roots):
                    optimizer.state.clear()
                    optimizer.state.update(map_tensors(self._anew, dict(state)))
                    for group, before in zip(optimizer.param_groups, groups, strict=False):
                        group.update(map_tensors(self._anew, before))
            yield

    def _cut(self, *_: object) -> None:
        self._without_graphs()

    def _without_graphs(self) -> bool:
        """Set what modules carry from one call to the next as it was, where it hangs on the script's last graph.

        A state of recurrent cells, recorded actions: the script cuts it between its iterations, and was stopped before that.

        Returns:
            Whether there was any.
        """
        found = False
        for part, before in self._attributes.values():
            for name, value in list(vars(part).items()):
                if name.startswith("_") or all(tensor.grad_fn is None for tensor in tensors_in(value)):
                    continue
                found = True
                if name in before:
                    vars(part)[name] = map_tensors(lambda tensor: tensor, before[name])
                else:
                    del vars(part)[name]
        return found


@contextmanager
def _flagged(trainable: Iterable[tuple[Tensor, bool]]) -> Iterator[None]:
    """Set which parameters require gradients, for a block."""
    given = [(tensor, flag) for tensor, flag in trainable if tensor.is_leaf and tensor.requires_grad != flag]
    try:
        for tensor, flag in given:
            tensor.requires_grad_(flag)
        yield
    finally:
        for tensor, flag in given:
            tensor.requires_grad_(not flag)


def _plain_attributes(part: nn.Module) -> dict[str, Any]:
    """What a module holds beside its parts, parameters and buffers; tensors without their graphs."""
    kept = ((name, value) for name, value in vars(part).items() if not name.startswith("_"))
    return {
        name: map_tensors(Tensor.detach, value)
        for name, value in kept
        if value is None or isinstance(value, (Tensor, tuple, list, dict))
    }
