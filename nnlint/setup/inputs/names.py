"""The tensors given to a model, each by the name that `forward` has for it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nnlint.tensors import tensor_leaves

if TYPE_CHECKING:
    import torch

    from nnlint.setup.training_setup import TrainingSetup


def named_inputs(setup: TrainingSetup) -> Iterator[tuple[str, torch.Tensor]]:
    """Input tensors with the names of forward's parameters."""
    try:
        names = list(inspect.signature(setup.model.forward).parameters)
    except (TypeError, ValueError):
        names = []
    inputs = setup.inputs
    if not isinstance(inputs, (tuple, dict)):
        inputs = (inputs,)
    pairs = (
        inputs.items()
        if isinstance(inputs, dict)
        else ((names[i] if i < len(names) else f"input{i}", v) for i, v in enumerate(inputs))
    )
    for name, value in pairs:
        yield from named_within(value, str(name))


def named_within(value: Any, base: str) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor inside `value`, named by `base` and its path: `batch.images`, `target.0`."""
    for path, tensor in tensor_leaves(value):
        yield ".".join([base, *map(str, path)]), tensor
