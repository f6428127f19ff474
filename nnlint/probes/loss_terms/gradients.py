"""Gradients of a part of the loss, whatever way the model allows.

A reentrant checkpoint refuses `torch.autograd.grad`, or hides the parameters in it: only a backward into them reaches them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup


@dataclass(frozen=True)
class Trained:
    """What is trained.

    Attributes:
        named: the parameters that the optimizer holds, by name; without one, those of the model that require grad.
        leaves: these and all parameters of the model: whose `grad` a backward may change.
    """

    named: Mapping[str, Tensor]
    leaves: tuple[Tensor, ...]

    def gradients(self, value: Tensor, weights: Tensor | None = None) -> dict[str, Tensor]:
        """The gradients of the trained parameters that `value` reaches."""
        if not value.requires_grad or not self.named:
            return {}
        found = self.gradients_of(value, list(self.named.values()), weights)
        return {name: made.detach() for name, made in zip(self.named, found, strict=True) if made is not None}

    def gradients_of(self, value: Tensor, inputs: Sequence[Tensor], weights: Tensor | None = None) -> Sequence[Tensor | None]:
        """The gradients of these tensors; the graph and the `grad` of every parameter are kept."""
        if not _is_checkpointed(value):
            return torch.autograd.grad(value, inputs, grad_outputs=weights, retain_graph=True, allow_unused=True)
        with self._own_grads(inputs):
            value.backward(weights, retain_graph=True)
            return [tensor.grad for tensor in inputs]

    @contextmanager
    def _own_grads(self, inputs: Sequence[Tensor]) -> Iterator[None]:
        """While entered, parameters and these tensors have no `grad` yet, and each can get one."""
        for tensor in inputs:
            tensor.retain_grad()
        kept = [(tensor, tensor.grad) for tensor in (*self.leaves, *inputs)]
        for tensor, _ in kept:
            tensor.grad = None
        try:
            yield
        finally:
            for tensor, grad in kept:
                tensor.grad = grad


def _is_checkpointed(value: Tensor) -> bool:
    """Whether a reentrant checkpoint is on the way from the parameters to the value."""
    waiting, seen = [value.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if node.name() == "CheckpointFunctionBackward":
            return True
        seen.add(node)
        waiting.extend(above for above, _ in node.next_functions)
    return False


def trained(setup: TrainingSetup) -> Trained:
    """What the setup trains."""
    every = tuple(setup.model.parameters())
    named = {name: parameter for name, parameter in setup.model.named_parameters() if parameter.requires_grad}
    if setup.optimizer is None:
        return Trained(named, every)
    names = {id(parameter): name for name, parameter in named.items()}
    held = [
        parameter for group in setup.optimizer.param_groups for parameter in group["params"] if parameter.requires_grad
    ]
    return Trained(
        {names.get(id(parameter), f"parameter {place}"): parameter for place, parameter in enumerate(held)},
        (*every, *held),
    )
