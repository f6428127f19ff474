"""The loss that a model computes in a method of its own from a whole batch: Lightning's `training_step`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from nnlint.setup.errors import SetupError
from nnlint.setup.training_setup import TrainingSetup
from nnlint.tensors import describe, map_tensors, tensors_in

_NOTHING = object()


def _plain(module: nn.Module) -> AbstractContextManager[Any]:
    return nullcontext(module)


@dataclass(frozen=True, eq=False)
class TrainingStep:
    """`own_loss` of a setup whose model computes its loss in `training_step(batch, batch_idx)`.

    A setup splits a batch into inputs and targets, and probes cut and change these; training_step unpacks the batch as
    the loader gave it, so that it is put together again here.

    Attributes:
        around: makes what has to surround the call, given the model.
        batch: the batch as the loader gave it, if one was taken.
        inputs: the part of it that became the setup's inputs.
        targets: the part of it that became the setup's targets.
    """

    around: Callable[[nn.Module], AbstractContextManager[Any]] = field(default=_plain, repr=False)
    batch: Any = field(default=_NOTHING, repr=False)
    inputs: Any = field(default=None, repr=False)
    targets: Any = field(default=None, repr=False)

    def of(self, batch: Any, inputs: Any, targets: Any) -> TrainingStep:
        """The same step, knowing which batch inputs and targets were taken from."""
        return replace(self, batch=batch, inputs=inputs, targets=targets)

    def __call__(self, model: nn.Module, inputs: Any, targets: Any) -> torch.Tensor:
        """The loss of the model's training_step on the batch that these inputs and targets make up.

        Raises:
            SetupError: RUN003, when training_step returns something that holds no loss.
        """
        with self.around(model):
            result = self.run(model, inputs, targets)
        loss = result.get("loss") if isinstance(result, Mapping) else result
        if not isinstance(loss, torch.Tensor):
            missing = " (is `return loss` missing? The Trainer skips such a step)" if result is None else ""
            raise SetupError("RUN003", f"training_step returned {describe(result)}{missing}: no loss to differentiate")
        return loss

    def run(self, model: nn.Module, inputs: Any, targets: Any) -> Any:
        """What training_step returns for the batch that these inputs and targets make up."""
        hook: Any = getattr(model, "training_step")  # noqa: B009 - not every module has one
        batch = self._reassembled(inputs, targets)
        return hook(batch, 0) if _takes_index(hook) else hook(batch)

    def _reassembled(self, inputs: Any, targets: Any) -> Any:
        if self.batch is _NOTHING:
            return _joined(inputs, targets)
        if inputs is self.inputs and targets is self.targets:
            return self.batch
        old = [*tensors_in(self.inputs), *tensors_in(self.targets)]
        new = [*tensors_in(inputs), *tensors_in(targets)]
        if not old or len(old) != len(new):
            return inputs if targets is None else _joined(inputs, targets)
        replacements = {id(before): after for before, after in zip(old, new, strict=True)}
        return map_tensors(lambda tensor: _following(tensor, replacements, old[0], new[0]), self.batch)


def remembering(setup: TrainingSetup, batch: Any, inputs: Any, targets: Any) -> dict[str, Any]:
    """The change to a setup that tells its training_step, if it has one, which batch was taken."""
    if isinstance(setup.own_loss, TrainingStep):
        return {"own_loss": setup.own_loss.of(batch, inputs, targets)}
    return {}


def _following(
    tensor: torch.Tensor, replacements: Mapping[int, torch.Tensor], old: torch.Tensor, new: torch.Tensor
) -> torch.Tensor:
    """What stands for a tensor of the batch: its replacement; one that forward does not take is cut and moved likewise."""
    if id(tensor) in replacements:
        return replacements[id(tensor)]
    same_samples = tensor.dim() and old.dim() and new.dim() and tensor.shape[0] == old.shape[0]
    cut = tensor[: new.shape[0]] if same_samples else tensor
    return cut.to(new.device) if cut.device != new.device else cut


def _joined(inputs: Any, targets: Any) -> Any:
    """A batch from inputs and targets that were given apart: a dict with labels, or the usual pair."""
    if isinstance(inputs, Mapping):
        return dict(inputs) if targets is None else {**inputs, "labels": targets}
    parts = list(inputs) if isinstance(inputs, tuple) else [inputs]
    if targets is None:
        return parts[0] if len(parts) == 1 else parts
    return [*parts, targets]


def _takes_index(hook: Callable[..., Any]) -> bool:
    """Whether training_step takes the number of the batch as well."""
    parameters = inspect.signature(hook).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = [parameter for parameter in parameters if parameter.kind in positional]
    return len(named) > 1 or any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters)
