"""A LightningModule as a training setup, without a Trainer: its own loss, optimizers and data.

Recognized by class name, so that nothing of Lightning is imported: `lightning` and `pytorch_lightning` ship the same classes under
different names, and either may be absent or broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from nnlint.frames import format_trace, location_of_exception
from nnlint.setup.adapters.manual import Turn, with_turns
from nnlint.setup.adapters.training_step import TrainingStep
from nnlint.setup.errors import SetupError
from nnlint.setup.training_setup import TrainingSetup
from nnlint.tensors import describe

_PACKAGES = frozenset({"lightning", "pytorch_lightning"})
_UNSET = object()
_MANUAL = (
    "manual optimization: training_step steps the optimizers itself, so that loss, gradients and steps were not measured "
    "and only the structure and the forward are checked"
)
_NO_BATCH = "no batch of data, so training_step was not run and there is no loss (give a DataLoader or a DataModule)"


def is_lightning_module(value: object) -> bool:
    """Whether the value is a LightningModule of either package."""
    return isinstance(value, nn.Module) and _has_base(value, "LightningModule")


def is_data_module(value: object) -> bool:
    """Whether the value is a LightningDataModule."""
    return _has_base(value, "LightningDataModule")


def _has_base(value: object, name: str) -> bool:
    return any(base.__name__ == name and _is_lightnings(base) for base in type(value).__mro__)


def _is_lightnings(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _PACKAGES


def loaders_of(data_module: Any) -> dict[str, Any]:
    """`data` and `val_data` of a DataModule, prepared for fitting the way the Trainer does it.

    Raises:
        SetupError: RUN001, when the DataModule raises.
    """
    try:
        data_module.prepare_data()
        data_module.setup("fit")
        return dict(_loaders(data_module))
    except Exception as error:
        raise _raised(error, f"{type(data_module).__name__} could not be set up for fitting") from error


def with_lightning(setup: TrainingSetup) -> TrainingSetup:
    """Fill in what the LightningModule itself defines: loss, optimizer, scheduler and data, where the setup has none.

    Its `setup("fit")` and `configure_model` run first, as in a Trainer. Attributes that these hooks set are put back to
    what they were, and are there again while `training_step` runs; layers that they build stay.

    Manual optimization cannot be stepped from outside: then only the static and forward rules run, and the report says so.

    Raises:
        SetupError: RUN001, when one of the hooks raises.
    """
    module: Any = setup.model
    changes: dict[str, Any] = {}
    # A Trainer that holds the module has run these hooks: layers that they build are those of its optimizers.
    is_attached = getattr(module, "_trainer", None) is not None
    with _attributes_kept(module) as added, without_trainer(module):
        if not is_attached:
            _called(module, "configure_model")
        if setup.data is None and setup.inputs is None:
            _called(module, "prepare_data")
            _called(module, "setup", "fit")
            changes |= _own_loaders(module)
        elif not is_attached:
            _called(module, "setup", "fit")
        optimizers, schedulers, interval = _optimizers(module) if setup.optimizer is None else ([], [], None)
    setup = setup.model_copy(update=changes)
    if not getattr(module, "automatic_optimization", True):
        if isinstance(setup.own_loss, Turn):
            return setup  # one of the players that this module was split into
        kept = dict(added)
        reason = with_turns(setup, optimizers, schedulers, lambda part, more: without_trainer(part, {**kept, **more}))
        return setup.with_assumption(f"{_MANUAL} ({reason})")
    if setup.loss is None and setup.own_loss is None and _overrides(module, "training_step"):
        step = TrainingStep(around=partial(without_trainer, attributes=added))
        setup = setup.model_copy(update={"own_loss": step})
    if len(optimizers) > 1:
        text = f"configure_optimizers returned {len(optimizers)} optimizers: none of them was checked"
        return setup.with_assumption(text)
    if optimizers:
        scheduler = setup.scheduler or next(iter(schedulers), None)
        known = {"interval": setup.interval or interval} if scheduler is not None else {}
        setup = setup.model_copy(update={"optimizer": optimizers[0], "scheduler": scheduler, **known})
    return setup


def without_loss_on_noise(setup: TrainingSetup) -> TrainingSetup:
    """The setup without its training_step where there is no batch of data for it: noise has not the form it unpacks."""
    if not isinstance(setup.own_loss, TrainingStep) or not setup.inputs_assumed:
        return setup
    return setup.with_assumption(_NO_BATCH, own_loss=None)


# -------------------------------------------------------------------- outside a Trainer


class _Silent:
    """A logger that takes everything and does nothing, so that `self.logger.experiment.add_image(...)` runs."""

    def __getattr__(self, name: str) -> _Silent:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> _Silent:  # noqa: ARG002 - takes everything
        return self


class _NoTrainer:
    """Stands for the Trainer while user code runs: numbers that planning code asks for, and nothing else."""

    accumulate_grad_batches = 1
    current_epoch = 0
    datamodule = None
    estimated_stepping_batches = 1000
    global_rank = 0
    global_step = 0
    is_global_zero = True
    is_last_batch = False
    local_rank = 0
    max_epochs = 1
    max_steps = 1000
    num_devices = 1
    num_training_batches = 1000
    progress_bar_callback = None
    sanity_checking = False
    training = True
    validating = False
    world_size = 1

    def __init__(self) -> None:
        self.callback_metrics: dict[str, Any] = {}
        self.logged_metrics: dict[str, Any] = {}
        self.logger = _Silent()
        self.loggers: list[Any] = []
        self.optimizers: list[Any] = []
        self.callbacks: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"self.trainer.{name}: nnlint runs the module without a Trainer, which has no such value")


def _log_nothing(*args: Any, **kwargs: Any) -> None:
    """What becomes of `self.log` outside a Trainer."""


@contextmanager
def without_trainer(module: Any, attributes: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Let hooks run outside a Trainer: `self.log` does nothing, `self.trainer` is a stand-in; both are undone afterwards.

    Args:
        module: the LightningModule; LightningModules inside it are treated alike.
        attributes: further attributes of the module that exist meanwhile.
    """
    with ExitStack() as stack:
        for part in module.modules():
            if is_lightning_module(part):
                replaced = {"log": _log_nothing, "log_dict": _log_nothing, "_trainer": _NoTrainer()}
                stack.enter_context(_replaced(vars(part), replaced))
        stack.enter_context(_replaced(vars(module), attributes or {}))
        yield


@contextmanager
def _replaced(owner: dict[str, Any], values: Mapping[str, Any]) -> Iterator[None]:
    before = {name: owner.get(name, _UNSET) for name in values}
    owner.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is _UNSET:
                owner.pop(name, None)
            else:
                owner[name] = value


@contextmanager
def _attributes_kept(module: nn.Module) -> Iterator[dict[str, Any]]:
    """Put the module's plain attributes back afterwards; the dict it gives then holds those that were set meanwhile."""
    before = dict(vars(module))
    changed: dict[str, Any] = {}
    try:
        yield changed
    finally:
        changed |= {name: value for name, value in vars(module).items() if before.get(name, _UNSET) is not value}
        for name in changed:
            if name in before:
                vars(module)[name] = before[name]
            else:
                del vars(module)[name]


# -------------------------------------------------------------------- hooks


def _overrides(owner: Any, name: str) -> bool:
    """Whether the user's class defines the hook: Lightning's own version only raises or warns."""
    if name in vars(owner):
        return True
    defined = next((base for base in type(owner).__mro__ if name in vars(base)), None)
    return defined is not None and not _is_lightnings(defined)


def _called(module: Any, name: str, *args: Any) -> Any:
    """The result of a hook, None where the user's class does not define it."""
    if not _overrides(module, name):
        return None
    hook: Callable[..., Any] = getattr(module, name)
    try:
        return hook(*args)
    except Exception as error:
        raise _raised(error, f"{name} of {type(module).__name__} raised") from error


def _own_loaders(module: Any) -> dict[str, Any]:
    try:
        return dict(_loaders(module))
    except Exception as error:
        raise _raised(error, f"a dataloader of {type(module).__name__} raised") from error


def _loaders(owner: Any) -> Iterator[tuple[str, Any]]:
    if _overrides(owner, "train_dataloader"):
        loader = owner.train_dataloader()
        if loader is not None:
            yield "data", _Together(loader) if _holds_loaders(loader) else loader
    if _overrides(owner, "val_dataloader"):
        loader = owner.val_dataloader()
        # Several validation loaders are run one after the other: the first stands for them.
        loader = next(iter(loader), None) if isinstance(loader, (list, tuple)) else loader
        if loader is not None:
            yield "val_data", loader


def _holds_loaders(value: Any) -> bool:
    """Whether it is a collection of loaders, and not a list of batches."""
    if not isinstance(value, (list, tuple, Mapping)):
        return False
    parts = list(value.values() if isinstance(value, Mapping) else value)
    return bool(parts) and not any(isinstance(part, (torch.Tensor, list, tuple, Mapping)) for part in parts)


class _Together:
    """Several training loaders: a batch is a batch of each, in a list or dict like theirs, as Lightning combines them."""

    def __init__(self, loaders: Sequence[Any] | Mapping[str, Any]) -> None:
        self._loaders = loaders

    def __iter__(self) -> Iterator[Any]:
        if isinstance(self._loaders, Mapping):
            for parts in zip(*self._loaders.values(), strict=False):
                yield dict(zip(self._loaders, parts, strict=True))
        else:
            yield from (list(parts) for parts in zip(*self._loaders, strict=False))


def _optimizers(module: Any) -> tuple[list[Any], list[Any], str]:
    """Optimizers, schedulers and how often these are stepped, from any of the shapes that configure_optimizers may return."""
    returned = _called(module, "configure_optimizers")
    optimizers, schedulers = _flattened(returned)
    wrong = next((found for found in optimizers if not isinstance(found, torch.optim.Optimizer)), None)
    if wrong is not None:
        message = f"configure_optimizers of {type(module).__name__} returned {describe(wrong)}"
        raise SetupError("RUN001", message, fix="return an optimizer, or a dict with the key 'optimizer'")
    return optimizers, [scheduler for scheduler in schedulers if scheduler is not None], _interval(returned)


def _flattened(returned: Any) -> tuple[list[Any], list[Any]]:
    if returned is None:
        return [], []
    if isinstance(returned, Mapping):
        return [returned.get("optimizer", returned)], [_scheduler(returned.get("lr_scheduler"))]
    if isinstance(returned, Sequence):
        if len(returned) == 2 and all(isinstance(part, (list, tuple)) for part in returned):
            return list(returned[0]), [_scheduler(found) for found in returned[1]]
        parts = [_flattened(part) for part in returned]
        return [o for optimizers, _ in parts for o in optimizers], [s for _, schedulers in parts for s in schedulers]
    return [returned], []


def _scheduler(given: Any) -> Any:
    return given.get("scheduler") if isinstance(given, Mapping) else given


def _interval(returned: Any) -> str:
    """How often Lightning steps the scheduler: each epoch unless the configuration says each step."""
    return next(_intervals(returned), "epoch")


def _intervals(returned: Any) -> Iterator[str]:
    """What the configurations of schedulers say: under "lr_scheduler", or in the second list of ([optimizer], [configuration])."""
    if isinstance(returned, Mapping):
        given = returned if "scheduler" in returned else returned.get("lr_scheduler")
        yield str(given.get("interval", "epoch")) if isinstance(given, Mapping) else "epoch"
    elif isinstance(returned, (list, tuple)):
        for part in returned:
            if isinstance(part, (Mapping, list, tuple)):
                yield from _intervals(part)


def _raised(error: Exception, what: str) -> SetupError:
    message, found, trace = f"{what}: {type(error).__name__}: {error}", location_of_exception(error), format_trace(error)
    return SetupError("RUN001", message, location=found, trace=trace, fix="make this method run without nnlint first")
