"""`TrainingSetup`: a model as it is about to be trained, with whatever else is known about that training."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import is_
from typing import Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator
from torch import nn

from nnlint.finding import Location
from nnlint.provenance import MODEL_LIBRARIES
from nnlint.setup.adapters.trainers import named_precision
from nnlint.setup.declarations import TASKS, TRAITS, check_words
from nnlint.setup.errors import SetupError
from nnlint.setup.joined import joined
from nnlint.setup.loss_in_output import as_loss, loss_beside, loss_in_output
from nnlint.setup.users_code import users_code
from nnlint.tensors import describe, move


def _unwrapped(optimizer: Any) -> Any:
    """The optimizer that steps, inside wrappers that keep it in an attribute: Accelerate's, a Noam schedule's.

    A wrapper is neither snapshot nor stepped: what it does around the step (a schedule, waiting for accumulation) is no update.
    """
    seen: list[Any] = []
    while all(optimizer is not wrapper for wrapper in seen):
        seen.append(optimizer)
        optimizer = _kept_optimizer(optimizer)
    return optimizer


def _kept_optimizer(wrapper: Any) -> Any:
    """The one optimizer that a wrapper keeps; the object itself where it does not clear gradients or step, or keeps several."""
    if isinstance(getattr(wrapper, "optimizer", None), torch.optim.Optimizer):
        return wrapper.optimizer
    acts = any(callable(getattr(wrapper, name, None)) for name in ("step", "zero_grad"))
    if isinstance(wrapper, (torch.optim.Optimizer, nn.Module)) or not acts:
        return wrapper
    kept = [value for value in getattr(wrapper, "__dict__", {}).values() if isinstance(value, torch.optim.Optimizer)]
    return kept[0] if len(kept) == 1 else wrapper


def _parts(given: Any) -> list[Any] | None:
    """The optimizers or schedulers of a list, tuple or dict; None where one is given plainly."""
    if isinstance(given, Mapping):
        return list(given.values())
    return list(given) if isinstance(given, (list, tuple)) else None


#: Names that targets go by, as an argument of a model or a key of a batch.
LABEL_KEYS = ("labels", "label", "targets", "target", "y")

_Found = TypeVar("_Found")


@dataclass
class _Remembered:
    """One answer about a setup and the objects it was read from; setups are compared without it."""

    of: tuple[object, ...] = field(default=(), compare=False)
    answer: Any = field(default=None, compare=False)


class TrainingSetup(BaseModel):
    """What nnlint checks. Only `model` is required; every other field widens what can be checked.

    The model, optimizer and loss are kept as the very objects given, never copied.

    Attributes:
        model: the model to be trained.
        inputs: one batch: a tensor, a tuple (positional arguments) or a dict (keyword arguments); any other object is
            passed as the one positional argument.
        targets: what the loss compares the output with.
        loss: `loss(output, targets)`; None where the model computes its own.
        optimizer: the optimizer as it will be used; a list or dict of optimizers is stepped together.
        scheduler: the learning-rate scheduler; of a list, one for each optimizer, the first.
        data: an iterable of batches, each (inputs, targets) or a dict.
        val_data: the same, for validation.
        causal: an output at a position may depend only on earlier positions.
        task: one of `nnlint.setup.declarations.TASKS`: "classification", "multilabel", "regression", ...
        frozen: globs of module paths that are frozen on purpose.
        declared: traits that are meant to be so, of `nnlint.setup.declarations.TRAITS` ("stochastic", "set-input", ...); rules
            about them stay silent.
        num_classes: the number of classes.
        pad_id: the token id of padding, where no embedding or configuration says it.
        precision: "fp16" or "bf16" where training uses automatic mixed precision.
        grad_scaler: whether a gradient scaler is used.
        grad_clip: largest norm of the gradient of all parameters together, where training clips it (`clip_grad_norm_`).
        planned_steps: optimizer steps the training will take.
        interval: how often the scheduler is stepped: once an optimizer "step" or once an "epoch".
        own_loss: `own_loss(model, inputs, targets)` runs the model and returns its loss (a Lightning training_step).
        assumptions: what nnlint made up or inferred, in plain words.
        inputs_assumed: the inputs are not a batch of the user's data.
        targets_assumed: the targets were made up by nnlint.
        construction: module path -> the line that constructed the module.
        script_lines: where an observed script calls the "model" and made the "optimizer"; empty for a build function.
        taken_from: import name of the library that a target's prefix took the model from (`timm` for `timm:resnet18`).
        libraries: import names of the packages that count as model libraries; see `nnlint.provenance`.
        weights: what loading a checkpoint left undone (`nnlint.setup.target.checkpoint.LoadedWeights`); None where none was loaded.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", frozen=True)

    model: nn.Module = Field(repr=False)
    inputs: Any = Field(default=None, repr=False)
    targets: Any = Field(default=None, repr=False)
    loss: Callable[..., Any] | None = None
    optimizer: torch.optim.Optimizer | None = Field(default=None, repr=False)
    scheduler: Any = None
    data: Any = None
    val_data: Any = None
    causal: bool = False
    task: str | None = None
    frozen: tuple[str, ...] = ()
    declared: frozenset[str] = frozenset()
    num_classes: int | None = Field(default=None, ge=1)
    pad_id: int | None = None
    precision: Literal["fp16", "bf16"] | None = None
    grad_scaler: bool = False
    grad_clip: float | None = Field(default=None, gt=0)
    planned_steps: int | None = Field(default=None, ge=1)
    interval: Literal["step", "epoch"] | None = None
    own_loss: Callable[..., torch.Tensor] | None = None
    assumptions: tuple[str, ...] = ()
    inputs_assumed: bool = False
    targets_assumed: bool = False
    construction: Mapping[str, Location] = Field(default_factory=dict, repr=False)
    script_lines: Mapping[str, Location] = Field(default_factory=dict, repr=False)
    taken_from: str = ""
    libraries: frozenset[str] = Field(default=frozenset(MODEL_LIBRARIES), repr=False)
    weights: Any = Field(default=None, repr=False)
    _batch_layout: _Remembered = PrivateAttr(default_factory=_Remembered)

    @model_validator(mode="before")
    @classmethod
    def _unpack_scheduler(cls, values: Any) -> Any:
        """The scheduler as Lightning's configure_optimizers writes it: {"scheduler": scheduler, "interval": "step"}."""
        given = values.get("scheduler") if isinstance(values, Mapping) else None
        if not isinstance(given, Mapping) or "scheduler" not in given:
            return values
        interval = values.get("interval") or given.get("interval")
        return {**values, "scheduler": given["scheduler"], "interval": interval}

    @field_validator("model", mode="before")
    @classmethod
    def _check_model(cls, value: Any) -> Any:
        if isinstance(value, type) and issubclass(value, nn.Module):
            raise ValueError(f"model is the class {value.__name__}, not an instance: write {value.__name__}(...)")
        if not isinstance(value, nn.Module):
            raise ValueError(f"model must be a torch.nn.Module, got {describe(value)}")
        return value

    @field_validator("loss", "own_loss", mode="before")
    @classmethod
    def _check_loss(cls, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            raise ValueError("loss is a tensor: give the function loss(output, targets), not its value")
        if isinstance(value, type) and issubclass(value, nn.Module):
            raise ValueError(f"loss is the class {value.__name__}, not an instance: write {value.__name__}()")
        if value is not None and not callable(value):
            raise ValueError(f"loss must be a callable loss(output, targets), got {describe(value)}")
        return value

    @field_validator("optimizer", mode="before")
    @classmethod
    def _check_optimizer(cls, value: Any) -> Any:
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer):
            name = value.__name__
            raise ValueError(f"optimizer is the class {name}, not an instance: write {name}(model.parameters())")
        parts = _parts(value)
        if parts is not None and not parts:
            raise ValueError("optimizer is an empty list: give the optimizer, or leave it out")
        inners = [_unwrapped(part) for part in ([value] if parts is None else parts)]
        for inner in inners:
            if inner is not None and not isinstance(inner, torch.optim.Optimizer):
                raise ValueError(f"optimizer must be a torch.optim.Optimizer, got {describe(value)}")
        return joined([inner for inner in inners if inner is not None])

    @field_validator("scheduler", mode="before")
    @classmethod
    def _check_scheduler(cls, value: Any) -> Any:
        # One for each optimizer: the first stands for them, as the first group does where rates are looked ahead. Among the
        # values of Lightning's dict it is the one that steps.
        parts = _parts(value)
        given = [part for part in ([value] if parts is None else parts) if part is not None]
        steps = [part for part in given if not isinstance(part, type) and callable(getattr(part, "step", None))]
        if given and not steps:
            raise ValueError(
                f"scheduler must have a step() method, as those of torch.optim.lr_scheduler, got {describe(given[0])}"
            )
        return steps[0] if steps else None

    @field_validator("inputs", "targets", mode="before")
    @classmethod
    def _check_batch(cls, value: Any) -> Any:
        if isinstance(value, torch.utils.data.DataLoader):
            raise ValueError("inputs and targets are one batch, got a DataLoader: give it as `data`")
        if type(value).__module__ == "numpy":
            raise ValueError(f"inputs and targets must hold tensors, got {describe(value)}: use torch.as_tensor(...)")
        if isinstance(value, (str, bytes, type)):
            raise ValueError(f"inputs and targets must be a tensor, tuple or dict, got {describe(value)}")
        return value

    @field_validator("data", "val_data", mode="before")
    @classmethod
    def _check_data(cls, value: Any) -> Any:
        if isinstance(value, (str, bytes, torch.Tensor)) or not (
            value is None or isinstance(value, Iterable) or hasattr(value, "__getitem__")
        ):
            raise ValueError(f"data must be an iterable of batches, got {describe(value)}")
        return value

    @field_validator("precision", mode="before")
    @classmethod
    def _name_precision(cls, value: Any) -> Any:
        return named_precision(value)

    @field_validator("frozen", "declared", mode="before")
    @classmethod
    def _accept_single_name(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("declared")
    @classmethod
    def _known_traits(cls, value: frozenset[str]) -> frozenset[str]:
        check_words(sorted(value), TRAITS, "trait")
        return value

    @field_validator("task")
    @classmethod
    def _known_task(cls, value: str | None) -> str | None:
        check_words(() if value is None else (value,), TASKS, "task")
        return value

    def call_model(self) -> Any:
        """The model's output on `inputs`: a tuple is passed as positional, a mapping as keyword arguments."""
        if self.inputs is None:
            raise SetupError("RUN005", "the training setup has no inputs to run the model on", setup=self)
        return call(self.model, self.inputs)

    def compute_loss(self, output: Any) -> torch.Tensor | None:
        """The loss backward starts from, or None where nothing tells how to compute one.

        In order: `own_loss` (which runs the model again, whatever `output` is), `loss`, the loss in the model's output
        (`.loss` or the key "loss", as in transformers; the sum of a dict of scalar losses, as in torchvision's
        detection models).
        """
        if self.own_loss is not None:
            return self.call_own_loss()
        if self.loss is None:
            found = loss_in_output(output)
            return loss_beside(output) if found is None and self._may_take_targets() else found
        if self.targets is None and not accepts_single_argument(self.loss):
            raise SetupError("RUN003", "the loss takes (output, targets), but the training setup has no targets")
        with users_code(output, self.targets):
            return as_loss(self.loss(output) if self.targets is None else self.loss(output, self.targets))

    def call_own_loss(self) -> torch.Tensor:
        """What `own_loss` gives, which must be set."""
        assert self.own_loss is not None
        with users_code(self.inputs, self.targets):
            return self.own_loss(self.model, self.inputs, self.targets)

    def _may_take_targets(self) -> bool:
        """Whether the targets may be among the inputs: under a name for them, or because there are several inputs."""
        if isinstance(self.inputs, Mapping):
            given: list[str] = [str(name) for name, value in self.inputs.items() if value is not None]
        else:
            count = len(self.inputs) if isinstance(self.inputs, tuple) else 1
            given = list(_arguments(self.model))[:count]
        return self.targets is None and (len(given) > 1 or any(name in LABEL_KEYS for name in given))

    def run(self) -> tuple[Any, torch.Tensor | None]:
        """One forward and its loss: (output, loss). The output is None where `own_loss` runs the model itself."""
        if self.own_loss is not None:
            return None, self.call_own_loss()
        output = self.call_model()
        return output, self.compute_loss(output)

    def batch_layout(self, find: Callable[[TrainingSetup], _Found]) -> _Found:
        """What `find` says of this setup: asked once for the same inputs, targets, data and declarations."""
        of = (find, self.inputs, self.targets, self.data, self.declared, self.inputs_assumed, self.targets_assumed)
        kept = self._batch_layout
        if len(kept.of) != len(of) or not all(map(is_, kept.of, of)):
            kept = self._batch_layout = _Remembered(of, find(self))
        found: _Found = kept.answer
        return found

    def with_inputs(self, inputs: Any, targets: Any = None) -> TrainingSetup:
        """The same setup (same model object) with other inputs and, where given, other targets."""
        changes = {"inputs": inputs} if targets is None else {"inputs": inputs, "targets": targets}
        return self.model_copy(update=changes)

    def with_assumption(self, text: str, **changes: Any) -> TrainingSetup:
        """The same setup with `changes`, and `text` added to what is reported as assumed."""
        return self.model_copy(update={**changes, "assumptions": (*self.assumptions, text)})

    def to(self, device: torch.device | str) -> TrainingSetup:
        """Move the model (in place, as `nn.Module.to` does), the loss module and the tensors to `device`."""
        self.model.to(device)
        if isinstance(self.loss, nn.Module):
            self.loss.to(device)
        return self.model_copy(update={"inputs": move(self.inputs, device), "targets": move(self.targets, device)})


def call(model: Callable[..., Any], inputs: Any) -> Any:
    """`model` on `inputs`: a tuple is passed as positional, a mapping as keyword arguments, else one argument."""
    with users_code(inputs):
        if isinstance(inputs, Mapping):
            return model(**inputs)
        return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def _arguments(model: nn.Module) -> Iterable[str]:
    try:
        return inspect.signature(model.forward).parameters
    except (TypeError, ValueError):
        return ()


def accepts_single_argument(function: Callable[..., Any]) -> bool:
    """Whether `function` can be called with the model's output alone."""
    if isinstance(function, nn.Module):
        function = function.forward
    try:
        inspect.signature(function).bind(None)
    except (TypeError, ValueError):
        return False
    return True
