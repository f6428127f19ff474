"""Shapes without memory: the training setup on FakeTensors, for `--static` and for models too big to run.

A fake run never touches the user's model: a forward that caches a tensor in `self` would leave a FakeTensor there.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nnlint.capture.torch_private import fake_tensor_mode
from nnlint.finding import Skip
from nnlint.guard.reach import Reach
from nnlint.tensors import is_dense, tensor_leaves

if TYPE_CHECKING:
    from nnlint.setup.training_setup import TrainingSetup


@contextmanager
def fake_setup(setup: TrainingSetup) -> Iterator[TrainingSetup]:
    """A copy of `setup` whose model, loss and batch are fake tensors on the CPU; valid inside the block.

    Raises:
        Skip: the setup holds a nested tensor, which has no shape to run on.
    """
    with fake_tensor_mode() as mode:
        memo: dict[int, Any] = {}
        # Plain tensor attributes too: a deep copy of a real tensor fails under this mode.
        held = Reach((setup.model, *([setup.loss] if isinstance(setup.loss, nn.Module) else []))).tensors
        for tensor in (*held, *(leaf for _, leaf in tensor_leaves((setup.inputs, setup.targets)))):
            memo.setdefault(id(tensor), _fake(tensor, mode))
        changes = {
            "model": copy.deepcopy(setup.model, memo),
            "loss": copy.deepcopy(setup.loss, memo),
            "inputs": copy.deepcopy(setup.inputs, memo),
            "targets": copy.deepcopy(setup.targets, memo),
        }
        yield setup.model_copy(update=changes)


def _fake(tensor: torch.Tensor, mode: Any) -> torch.Tensor:
    if tensor.is_nested:
        raise Skip("nested tensors have no single shape: run without --static")
    if not is_dense(tensor):
        sparse: torch.Tensor = mode.from_tensor(tensor)
        return sparse
    fake = torch.empty_strided(tuple(tensor.shape), tensor.stride(), dtype=tensor.dtype, device="cpu")
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(fake, requires_grad=tensor.requires_grad)
    return fake


def needs_fake(model: nn.Module) -> bool:
    """Whether the model lives on the meta device, where no real forward is possible."""
    return any(parameter.is_meta for parameter in model.parameters())
