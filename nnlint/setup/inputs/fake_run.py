"""Trying inputs on a copy of the model, on fake tensors: shapes are checked, nothing is computed or changed."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from nnlint.capture.torch_private import drop_forward_hooks, fake_tensor_mode, undecided_errors
from nnlint.seeding import seeded
from nnlint.setup.training_setup import call
from nnlint.tensors import map_tensors

#: Models above this many parameters are not copied for real.
_LARGEST_REAL_COPY = 50_000_000


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: with an output (of fake tensors, mostly), or with an error."""

    output: Any = None
    error: Exception | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the model took the inputs."""
        return self.error is None

    @property
    def reason(self) -> str:
        """The first line of the error."""
        lines = str(self.error).strip().splitlines()
        return f"{type(self.error).__name__}: {lines[0] if lines else ''}"[:160]


class Trial:
    """A copy of a model to try inputs on. The copy is in training mode, as the model will be when it is checked.

    Raises:
        Exception: whatever the model's own deep copy raises.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._mode = fake_tensor_mode()
        self._training = True
        self._meta_copy = _without_hooks(copy.deepcopy(model)) if _is_on_meta(model) else None
        if self._meta_copy is None:
            self._copy  # noqa: B018 - a model that cannot be copied is known from the start

    @cached_property
    def _copy(self) -> nn.Module:
        return _without_hooks(copy.deepcopy(self._model, _fake_memo(self._model, self._mode)))

    def run(self, inputs: Any) -> Outcome:
        """The copy's output on `inputs`: on fake tensors, and on real ones where fake ones cannot tell."""
        return self._run_on_meta(inputs) or self._run_on_fake(inputs)

    def _run_on_meta(self, inputs: Any) -> Outcome | None:
        """The output of a copy on the meta device, in half the time; None where that is none, or where it raises."""
        if self._meta_copy is None:
            return None
        try:
            with _silent():
                output = call(self._meta_copy.train(self._training), map_tensors(_on_meta, inputs))
                return Outcome(map_tensors(lambda tensor: _fake_twin(tensor, self._mode), output))
        except Exception:
            return None  # code that makes tensors on the CPU runs on fake tensors, which have a device

    def _run_on_fake(self, inputs: Any) -> Outcome:
        self._copy.train(self._training)
        try:
            with _silent(), self._mode:
                return Outcome(call(self._copy, map_tensors(self._mode.from_tensor, inputs)))
        except undecided_errors() as error:  # fake tensors have no values to branch on: nothing is decided
            return self.run_for_real(inputs) or Outcome(error=error)
        except Exception as error:
            if "FakeTensor" in str(error) or "fake tensor" in str(error):
                return self.run_for_real(inputs) or Outcome(error=error)
            return Outcome(error=error)

    def run_for_real(self, inputs: Any) -> Outcome | None:
        """The output of a real copy, made for this one run; None where the model is too big or on the meta device."""
        tensors = [*self._model.parameters(), *self._model.buffers()]
        if any(t.is_meta or is_lazy(t) for t in tensors) or sum(t.numel() for t in tensors) > _LARGEST_REAL_COPY:
            return None
        try:
            with _silent():
                twin = _without_hooks(copy.deepcopy(self._model)).train(self._training)
                return Outcome(call(twin, map_tensors(torch.clone, inputs)))
        except Exception as error:
            return Outcome(error=error)

    def loss(self, function: Any, output: Any, targets: Any) -> Outcome:
        """What a loss gives for an output of `run` and some targets."""
        try:
            with _silent(), self._mode:
                return Outcome(function(output, map_tensors(self._mode.from_tensor, targets)))
        except Exception as error:
            return Outcome(error=error)

    def set_training(self, *, training: bool) -> None:
        """Put the copy in training or evaluation mode."""
        self._training = training


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """No output, no warnings, no gradients, no trace in the generators."""
    with (
        contextlib.ExitStack() as stack,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
        torch.no_grad(),
        seeded(0),
    ):
        # Shape rules that fail are logged with their trace, and most guesses are expected to fail.
        stack.callback(logging.disable, logging.root.manager.disable)
        logging.disable(logging.CRITICAL)
        warnings.simplefilter("ignore")
        yield


def _is_on_meta(model: nn.Module) -> bool:
    tensors = [*model.parameters(), *model.buffers()]
    return bool(tensors) and all(tensor.is_meta and not is_lazy(tensor) for tensor in tensors)


def _on_meta(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to("meta")


def _fake_memo(model: nn.Module, mode: Any) -> dict[int, Any]:
    """A memo for `copy.deepcopy` that puts a fake tensor of the same shape in place of every tensor of the model."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False), *vars(module).values()]
        for tensor in own:
            if isinstance(tensor, torch.Tensor) and not is_lazy(tensor) and id(tensor) not in memo:
                memo[id(tensor)] = _fake_twin(tensor, mode)
    return memo


def _fake_twin(tensor: torch.Tensor, mode: Any) -> torch.Tensor:
    device = torch.device("cpu") if tensor.is_meta else tensor.device
    with mode:
        twin = torch.empty_strided(tuple(tensor.shape), tensor.stride(), dtype=tensor.dtype, device=device)
        return nn.Parameter(twin, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else twin


def _without_hooks(model: nn.Module) -> nn.Module:
    # Hooks are shared with the original by deepcopy: they would show the trial's tensors to the user's code.
    for module in model.modules():
        drop_forward_hooks(module)
    return model
