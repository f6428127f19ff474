"""A LightningModule as a training setup, without a Trainer: its own loss, optimizers and data.

Recognized by class name, so that nothing of Lightning is imported: `lightning` and `pytorch_lightning` ship the same classes under
different names, and either may be absent or broken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from nnlint.setup.batches import LABEL_KEYS
from nnlint.setup.errors import SetupError
from nnlint.setup.frames import format_trace, location_of_exception
from nnlint.setup.structure import describe
from nnlint.setup.training_setup import TrainingSetup

_UNSET = object()


def is_lightning_module(value: object) -> bool:
    """Whether the value is a LightningModule of either package."""
    return isinstance(value, nn.Module) and _has_base(value, "LightningModule")


def is_data_module(value: object) -> bool:
    """Whether the value is a LightningDataModule."""
    return _has_base(value, "LightningDataModule")


def _has_base(value: object, name: str) -> bool:
    return any(base.__name__ == name and "lightning" in base.__module__ for base in type(value).__mro__)


def loaders_of(data_module: Any) -> dict[str, Any]:
    """`data` and `val_data` of a DataModule, prepared for fitting the way the Trainer does it.

    Raises:
        SetupError: RUN001, when the DataModule raises.
    """
    try:
        data_module.prepare_data()
        data_module.setup("fit")
        return {name: loader for name, loader in _loaders(data_module) if loader is not None}
    except Exception as error:
        raise _raised(error, f"{type(data_module).__name__} could not be set up for fitting") from error


def with_lightning(setup: TrainingSetup) -> TrainingSetup:
    """Fill in what the LightningModule itself defines: loss, optimizer, scheduler and data, where the setup has none.

    Manual optimization cannot be stepped from outside: then only the static and forward rules run, and the report says so.

    Raises:
        SetupError: RUN001, when configure_optimizers or a dataloader raises.
    """
    module: Any = setup.model
    changes: dict[str, Any] = {}
    if setup.data is None and setup.inputs is None:
        with _detached(module):
            changes |= {name: loader for name, loader in _own_loaders(module) if loader is not None}
    if not getattr(module, "automatic_optimization", True):
        text = "manual optimization: training_step steps the optimizers itself, so loss, gradients and steps were not measured"
        return setup.with_assumption(text, **changes)
    if setup.loss is None and setup.own_loss is None and _overrides(module, "training_step"):
        changes["own_loss"] = training_step_loss
    if setup.optimizer is None and _overrides(module, "configure_optimizers"):
        optimizers, schedulers = _optimizers(module)
        if len(optimizers) == 1:
            changes |= {"optimizer": optimizers[0], "scheduler": setup.scheduler or next(iter(schedulers), None)}
        elif optimizers:
            text = f"configure_optimizers gave {len(optimizers)} optimizers: none of them was stepped or judged"
            return setup.with_assumption(text, **changes)
    return setup.model_copy(update=changes)


def training_step_loss(model: nn.Module, inputs: Any, targets: Any) -> torch.Tensor:
    """The loss of `training_step` on the batch that inputs and targets were taken from.

    Raises:
        SetupError: RUN003, when training_step returns something that holds no loss.
    """
    module: Any = model
    with _detached(module):
        result = module.training_step(_reassembled(inputs, targets), 0)
    loss = result.get("loss") if isinstance(result, Mapping) else result
    if not isinstance(loss, torch.Tensor):
        raise SetupError("RUN003", f"training_step returned {describe(result)}: no loss to differentiate")
    return loss


def _reassembled(inputs: Any, targets: Any) -> Any:
    """The batch as the loader gave it, inputs and targets joined again."""
    if isinstance(inputs, Mapping):
        if targets is None or any(key in inputs for key in LABEL_KEYS):
            return inputs
        return {**inputs, "labels": targets}
    if isinstance(inputs, tuple) and len(inputs) == 1 and isinstance(inputs[0], Mapping):
        return inputs[0]
    parts = inputs if isinstance(inputs, tuple) else (inputs,)
    return parts[0] if targets is None and len(parts) == 1 else [*parts, *([] if targets is None else [targets])]


class _NoTrainer:
    """Stands for the Trainer while user code runs: numbers that planning code asks for, and nothing else."""

    estimated_stepping_batches = 1000
    max_epochs = 1
    max_steps = 1000
    current_epoch = 0
    global_step = 0
    num_devices = 1
    num_training_batches = 1000
    world_size = 1
    is_global_zero = True
    training = True
    sanity_checking = False
    datamodule = None

    def __init__(self) -> None:
        self.callback_metrics: dict[str, Any] = {}
        self.logged_metrics: dict[str, Any] = {}
        self.loggers: list[Any] = []
        self.logger = None
        self.optimizers: list[Any] = []


@contextmanager
def _detached(module: Any) -> Iterator[None]:
    """Let hooks run outside a Trainer: `self.log` does nothing, `self.trainer` is a stand-in; both are undone afterwards."""
    replaced: Mapping[str, Any] = {"log": _log_nothing, "log_dict": _log_nothing, "_trainer": _NoTrainer()}
    before = {name: module.__dict__.get(name, _UNSET) for name in replaced}
    module.__dict__.update(replaced)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is _UNSET:
                module.__dict__.pop(name, None)
            else:
                module.__dict__[name] = value


def _log_nothing(*args: Any, **kwargs: Any) -> None:  # noqa: ARG001 - the signature of LightningModule.log
    """What becomes of `self.log` outside a Trainer."""


def _overrides(owner: Any, name: str) -> bool:
    """Whether the user's class defines the hook: Lightning's own version only raises or warns."""
    defined = next((base for base in type(owner).__mro__ if name in vars(base)), None)
    return defined is not None and "lightning" not in defined.__module__.split(".")[0]


def _own_loaders(module: Any) -> Iterator[tuple[str, Any]]:
    try:
        yield from _loaders(module)
    except Exception as error:
        raise _raised(error, f"a dataloader of {type(module).__name__} raised") from error


def _loaders(owner: Any) -> Iterator[tuple[str, Any]]:
    for field, hook in (("data", "train_dataloader"), ("val_data", "val_dataloader")):
        if _overrides(owner, hook):
            loader = getattr(owner, hook)()
            yield field, loader[0] if isinstance(loader, (list, tuple)) and loader else loader


def _optimizers(module: Any) -> tuple[list[Any], list[Any]]:
    """Optimizers and schedulers from any of the shapes that configure_optimizers may return."""
    try:
        with _detached(module):
            returned = module.configure_optimizers()
    except Exception as error:
        raise _raised(error, f"configure_optimizers of {type(module).__name__} raised") from error
    optimizers, schedulers = _flattened(returned)
    wrong = next((found for found in optimizers if not isinstance(found, torch.optim.Optimizer)), None)
    if wrong is not None:
        raise SetupError("RUN001", f"configure_optimizers of {type(module).__name__} returned {describe(wrong)}")
    return optimizers, [scheduler for scheduler in schedulers if scheduler is not None]


def _flattened(returned: Any) -> tuple[list[Any], list[Any]]:
    if returned is None:
        return [], []
    if isinstance(returned, Mapping):
        return [returned.get("optimizer")], [_scheduler(returned.get("lr_scheduler"))]
    if isinstance(returned, Sequence):
        if len(returned) == 2 and all(isinstance(part, (list, tuple)) for part in returned):
            return list(returned[0]), [_scheduler(found) for found in returned[1]]
        parts = [_flattened(part) for part in returned]
        return [o for optimizers, _ in parts for o in optimizers], [s for _, schedulers in parts for s in schedulers]
    return [returned], []


def _scheduler(given: Any) -> Any:
    return given.get("scheduler") if isinstance(given, Mapping) else given


def _raised(error: Exception, what: str) -> SetupError:
    location = location_of_exception(error)
    where = f" (at {location})" if location is not None else ""
    message = f"{what}: {type(error).__name__}: {error}{where}"
    return SetupError("RUN001", message, location=location, trace=format_trace(error))


