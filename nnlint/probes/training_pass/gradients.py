"""Norms of the gradients of parameters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from nnlint.capture.torch_private import norms
from nnlint.dense import stored


def norms_of(tensors: Iterable[torch.Tensor]) -> list[float]:
    """Euclidean norms, by one foreach call."""
    listed = [_values(tensor) for tensor in tensors]
    # torch.nn.utils.clip_grad_norm_ makes the same call: one kernel launch for all tensors.
    return _numbers(norms(listed)) if listed else []


def gradient_norms(model: nn.Module) -> dict[str, float | None]:
    """Norm of every trainable parameter's gradient, by name; None where autograd gave none."""
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    held = {name: _values(parameter.grad) for name, parameter in named.items() if parameter.grad is not None}
    return {**dict.fromkeys(named), **dict(zip(held, norms_of(held.values()), strict=True))}


def sparse_gradients(model: nn.Module) -> set[str]:
    """Names of the parameters whose gradient is a sparse tensor."""
    named = model.named_parameters()
    return {name for name, parameter in named if parameter.grad is not None and not _is_dense(parameter.grad)}


def norms_in_passing(model: nn.Module, loss: torch.Tensor) -> dict[str, float | None]:
    """Differentiate, and keep of each gradient nothing but its norm: all together they are as large as the model.

    Returns:
        What `gradient_norms` returns; the parameters are left without gradients.
    """
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    norms: dict[int, torch.Tensor] = {}

    def take(parameter: torch.Tensor) -> None:
        gradient, parameter.grad = parameter.grad, None
        if gradient is not None:
            norms[id(parameter)] = torch.linalg.vector_norm(_values(gradient))

    handles = [parameter.register_post_accumulate_grad_hook(take) for parameter in named.values()]
    try:
        loss.backward()
    finally:
        for handle in handles:
            handle.remove()
    found = dict(zip(norms, _numbers(list(norms.values())), strict=True))
    return {name: found.get(id(parameter)) for name, parameter in named.items()}


def _numbers(scalars: Sequence[torch.Tensor]) -> list[float]:
    """The values of many scalars, by one transfer for each device and dtype: every transfer waits for the device."""
    alike: dict[tuple[torch.device, torch.dtype], list[int]] = defaultdict(list)
    for index, scalar in enumerate(scalars):
        alike[scalar.device, scalar.dtype].append(index)
    values: dict[int, float] = {}
    for indices in alike.values():
        values |= zip(indices, torch.stack([scalars[index] for index in indices]).tolist(), strict=True)
    return [values[index] for index in range(len(scalars))]


def _values(gradient: torch.Tensor) -> torch.Tensor:
    values = stored(gradient)
    return values if values is not None else gradient.detach()


def _is_dense(gradient: torch.Tensor) -> bool:
    return gradient.layout is torch.strided
