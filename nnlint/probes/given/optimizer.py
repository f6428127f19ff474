"""Evidence `Optimizer`: what the optimizer holds, against what the model has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nnlint.finding import Location, Skip
from nnlint.probes.given.schedule import future_rates
from nnlint.setup.joined import kind_of

if TYPE_CHECKING:
    from nnlint.probes.session import Session
    from nnlint.setup.training_setup import TrainingSetup

#: Scheduler steps that are tried out on a twin.
_FORESEEN_STEPS = 200


@dataclass(frozen=True)
class OptimizedTensor:
    """A tensor in a parameter group.

    Attributes:
        name: its qualified name in the model; None where it is not the model's.
        group: index of the group.
    """

    name: str | None
    shape: tuple[int, ...]
    dtype: str
    requires_grad: bool
    group: int


@dataclass(frozen=True)
class ParameterGroup:
    """One parameter group.

    Attributes:
        names: the model's parameters in it, by qualified name.
        lr: the learning rate now; None where the optimizer has none.
        initial_lr: the learning rate before the scheduler changed it.
        betas: those of Adam and the like, else None.
        decoupled: whether weight decay is decoupled from the gradient (AdamW).
        options: all plain settings of the group.
    """

    index: int
    tensors: tuple[OptimizedTensor, ...]
    lr: float | None
    initial_lr: float | None
    weight_decay: float
    momentum: float | None
    betas: tuple[float, ...] | None
    eps: float | None
    maximize: bool
    decoupled: bool
    options: Mapping[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """Qualified names of the model's parameters in the group."""
        return tuple(tensor.name for tensor in self.tensors if tensor.name is not None)


@dataclass(frozen=True)
class ScheduleInfo:
    """The learning-rate scheduler.

    Attributes:
        class_name: its class.
        settings: its plain attributes (`T_max`, `step_size`, `total_steps`, `gamma`, ...).
        matches: whether it drives this optimizer; None where that cannot be seen.
        rates: learning rate of the first group now and after each of the next steps; empty where it cannot be foreseen.
        ended: what ended `rates` early, in words; empty where nothing did.
    """

    class_name: str
    settings: Mapping[str, Any]
    matches: bool | None
    rates: tuple[float, ...] = ()
    ended: str = ""


@dataclass(frozen=True)
class Optimizer:
    """The optimizer as given.

    Attributes:
        class_name: the class of the optimizer, under any wrapper.
        missing: the model's trainable parameters that are in no group.
        foreign: tensors that are not the model's (nor the loss module's).
        frozen: tensors in a group that require no gradient.
        steps: optimizer steps already taken, as far as its state tells.
        grad_scaler: whether a gradient scaler is used, as the setup says.
        location: the line of an observed script that made it; None for a build function.
    """

    class_name: str
    wrapper: str | None
    groups: tuple[ParameterGroup, ...]
    missing: tuple[str, ...]
    foreign: tuple[OptimizedTensor, ...]
    frozen: tuple[OptimizedTensor, ...]
    scheduler: ScheduleInfo | None
    steps: int
    module_path: str = ""
    location: Location | None = field(default=None)

    @property
    def label(self) -> str:
        """`Adam`, or `Adam in ZeroRedundancyOptimizer`."""
        return self.class_name if self.wrapper is None else f"{self.class_name} in {self.wrapper}"

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """The learning rate of every group that has one."""
        return tuple(group.lr for group in self.groups if group.lr is not None)

    @classmethod
    def from_setup(cls, setup: TrainingSetup) -> Optimizer:
        """Read the optimizer of a setup.

        Raises:
            Skip: the setup has none, or it has no parameter groups to read.
        """
        if setup.optimizer is None:
            raise Skip("no optimizer given")
        found = cls.read(setup.optimizer, setup.model, loss=setup.loss, scheduler=setup.scheduler)
        return replace(found, location=setup.script_lines.get("optimizer"))

    @classmethod
    def read(cls, optimizer: Any, model: nn.Module, *, loss: Any = None, scheduler: Any = None) -> Optimizer:
        """Read any object with `.param_groups`."""
        raw = getattr(optimizer, "param_groups", None)
        if not isinstance(raw, (list, tuple)):
            raise Skip(f"{type(optimizer).__name__} has no param_groups")
        inner = _innermost(optimizer)
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        others = {id(parameter) for parameter in loss.parameters()} if isinstance(loss, nn.Module) else set()
        held = [
            (id(tensor), _tensor(tensor, names, index)) for index, group in enumerate(raw) for tensor in group["params"]
        ]
        times = Counter(key for key, _ in held)
        groups = tuple(
            _group(index, group, tuple(view for _, view in held if view.group == index), kind_of(inner, group))
            for index, group in enumerate(raw)
        )
        trainable = {name: id(parameter) for name, parameter in model.named_parameters() if parameter.requires_grad}
        return cls(
            class_name=type(inner).__name__,
            wrapper=None if inner is optimizer else type(optimizer).__name__,
            groups=groups,
            missing=tuple(name for name, key in trainable.items() if key not in times),
            foreign=tuple(view for key, view in held if view.name is None and key not in others),
            frozen=tuple(view for _, view in held if not view.requires_grad),
            scheduler=_schedule(scheduler, optimizer, inner),
            steps=_steps(inner),
        )


def _innermost(optimizer: Any) -> Any:
    """The optimizer that wrappers (accelerate, ZeRO, LARS-like) hold under `optimizer` or `optim`."""
    seen: set[int] = set()
    while id(optimizer) not in seen:
        seen.add(id(optimizer))
        held = vars(optimizer) if hasattr(optimizer, "__dict__") else {}
        for name in ("optimizer", "optim", "_optimizer", "base_optimizer"):
            if hasattr(held.get(name), "param_groups"):
                optimizer = held[name]
                break
    return optimizer


def _tensor(tensor: Tensor, names: Mapping[int, str], group: int) -> OptimizedTensor:
    shape = () if isinstance(tensor, nn.parameter.UninitializedParameter) else tuple(tensor.shape)
    dtype = str(tensor.dtype).removeprefix("torch.")
    return OptimizedTensor(names.get(id(tensor)), shape, dtype, bool(tensor.requires_grad), group)


def _group(index: int, group: Mapping[str, Any], tensors: tuple[OptimizedTensor, ...], kind: type) -> ParameterGroup:
    options = {key: _plain(value) for key, value in group.items() if key not in {"params", "param_names"}}
    betas = options.get("betas")
    return ParameterGroup(
        index=index,
        tensors=tensors,
        lr=_number(options.get("lr")),
        initial_lr=_number(options.get("initial_lr", options.get("lr"))),
        weight_decay=_number(options.get("weight_decay")) or 0.0,
        momentum=_number(options.get("momentum")),
        betas=tuple(float(beta) for beta in betas) if isinstance(betas, tuple) else None,
        eps=_number(options.get("eps")),
        maximize=bool(options.get("maximize", False)),
        decoupled=decouples(kind, group),
        options=options,
    )


def decouples(optimizer: type, group: Mapping[str, Any]) -> bool:
    """Whether weight decay is taken off the weights instead of being added to the gradient.

    Torch's own optimizers say so, or their names do. Those that others wrote from scratch (Lion, Lamb) follow AdamW.
    """
    for name in ("decoupled_weight_decay", "decoupled_decay", "weight_decouple"):
        if name in group:
            return bool(group[name])
    known = [base for base in optimizer.__mro__ if base.__module__.startswith("torch.optim.")]
    return known in ([], [torch.optim.Optimizer]) or any(base.__name__.endswith("W") for base in known)


def _plain(value: Any) -> Any:
    """A tensor setting (`lr=torch.tensor(...)`) as a number; sequences as tuples."""
    if isinstance(value, Tensor):
        return value.item() if value.numel() == 1 and not value.is_meta else None
    if isinstance(value, (list, tuple)):
        return tuple(_plain(item) for item in value)
    return value


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _schedule(scheduler: Any, *optimizers: Any) -> ScheduleInfo | None:
    if scheduler is None:
        return None
    held = vars(scheduler) if hasattr(scheduler, "__dict__") else {}
    settings = {
        name: _plain(value)
        for name, value in held.items()
        if not name.startswith("_") and isinstance(value, (bool, int, float, str, list, tuple, Tensor))
    }
    rates, ended = future_rates(scheduler, _FORESEEN_STEPS)
    drives = held.get("optimizer")
    return ScheduleInfo(
        class_name=type(scheduler).__name__,
        settings=settings,
        matches=None if drives is None else any(_is_same(drives, optimizer) for optimizer in optimizers),
        rates=rates,
        ended=ended,
    )


def _is_same(drives: Any, optimizer: Any) -> bool:
    """Whether a scheduler's optimizer is this one, or a wrapper with the very groups of this one (Accelerate's)."""
    if drives is optimizer:
        return True
    own = next(iter(getattr(drives, "param_groups", ())), None)
    return own is not None and any(group is own for group in getattr(optimizer, "param_groups", ()))


def _steps(optimizer: Any) -> int:
    """The largest step count in the optimizer's state."""
    state = getattr(optimizer, "state", None)
    if not isinstance(state, Mapping):
        return 0
    counts = (entry.get("step", 1) for entry in state.values() if isinstance(entry, Mapping) and entry)
    return max((int(_plain(count) or 0) for count in counts), default=0)


def provide(session: Session) -> Optimizer:
    """The optimizer and scheduler of the setup."""
    return Optimizer.from_setup(session.setup)
