"""What the watchers of one observation share."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from nnlint.capture.torch_private import version
from nnlint.finding import Location
from nnlint.observation.content import Sample
from nnlint.observation.cuda_graphs import is_capturing
from nnlint.observation.events import Seed
from nnlint.observation.gradients import GradientNorm, Gradients
from nnlint.observation.graphs import Alive
from nnlint.observation.group import Group
from nnlint.observation.journal import Journal, Keys
from nnlint.observation.seeds import Askers
from nnlint.observation.things import Thing, Things, script_line
from nnlint.observation.torch_private import children_of
from nnlint.setup.target.partial_loads import PartialLoad

if TYPE_CHECKING:
    from nnlint.observation.events import Event


class Taker(Protocol):
    """Takes the material of training setups while the events are noted."""

    def forward_begins(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """An outermost module is called."""

    def forward_ends(self, module: nn.Module, output: Any) -> None:
        """It returned."""

    def backward_begins(
        self, losses: tuple[torch.Tensor, ...], reached: Keys, *, accumulates: bool
    ) -> tuple[Location, ...]:
        """The engine is about to run from these tensors; the lines of their summands without a graph."""

    def forward_failed(self, module: nn.Module, error: BaseException) -> None:
        """It raised."""

    def step_begins(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer is about to step."""

    def stepped(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer made a step."""

    def pause(self, change: int) -> None:
        """Begin (1) or end (-1) to leave torch calls out."""

    def scaled(self, result: Any, original: Any) -> None:
        """A scaler multiplied a loss."""


@dataclass
class State:
    """The growing log and what is needed to write it.

    Attributes:
        journal: the events so far.
        things: parameters, modules, optimizers by number.
        gradients: which backwards each gradient holds.
        alive: which graphs are alive.
        forwards: sequence number of the autograd node of an output -> index of the forward that made it.
        taker: the tape, while setups are still wanted.
        values: the parameters as they were when they were last looked at, to see changes outside of steps.
        versions: how often each had been written to by then.
        depth: module calls, backwards and steps that are running.
        updates: updates of each optimizer (by number), and those by hand under None.
        unanswered: backwards since the last update.
        waiting: parameters (by number) that those backwards filled.
        kept: loaders and schedulers, which the setups need: a function of the script may have ended before they are made.
        loss_scale: the factor that a scaler has put on the next loss.
        gradient_norm: the norm over the gradients that were measured last.
        gradient_scale: the factor on the gradients of the last backward.
        unscaled: optimizers (by number) whose gradients a scaler has divided by it again.
        loads: state dicts that were loaded in part.
        askers: which lines asked for the seeds.
        group: the process group, as it was at the first step.
        captured: whether the script recorded a CUDA graph meanwhile, which was not watched.
    """

    journal: Journal = field(default_factory=Journal)
    things: Things = field(default_factory=Things)
    alive: Alive = field(default_factory=Alive)
    forwards: dict[int, int] = field(default_factory=dict)
    taker: Taker | None = None
    values: Sample | None = None
    versions: dict[int, int | None] = field(default_factory=dict)
    in_forward: int = 0
    in_backward: int = 0
    in_schedule: int = 0
    in_making: int = 0
    updates: dict[int | None, int] = field(default_factory=dict)
    unanswered: int = 0
    waiting: set[int] = field(default_factory=set)
    kept: dict[int, object] = field(default_factory=dict)
    loss_scale: float | None = None
    gradient_scale: float | None = None
    unscaled: set[int] = field(default_factory=set)
    loads: list[PartialLoad] = field(default_factory=list)
    askers: Askers = field(default_factory=Askers)
    group: Group | None = None
    captured: bool = False
    active: bool = False
    thread: int = field(default_factory=threading.get_ident)
    process: int = field(default_factory=os.getpid)
    gradients: Gradients = field(init=False)
    gradient_norm: GradientNorm = field(default_factory=GradientNorm)

    def __post_init__(self) -> None:
        self.gradients = Gradients(self.things)

    def listens(self) -> bool:
        """Whether a call is to be noted: the observation is on, and this is the thread and the process it began in.

        What the script records into a CUDA graph is left alone; the iterations that warm it up are seen.
        """
        here = self.active and threading.get_ident() == self.thread and os.getpid() == self.process
        if here and is_capturing():
            self.captured = True
            return False
        return here

    @property
    def is_grouped(self) -> bool:
        """Whether there is a process group: parameter norms are compared across ranks then."""
        return torch.distributed.is_available() and torch.distributed.is_initialized()

    def scale_on(self, *optimizers: int) -> float | None:
        """The scaler's factor that is still on the gradients of any of these optimizers."""
        return self.gradient_scale if any(ref not in self.unscaled for ref in optimizers) else None

    def parameters_of(self, optimizer: torch.optim.Optimizer) -> dict[int, torch.Tensor]:
        """The parameters of an optimizer by number."""
        tensors = (tensor for group in optimizer.param_groups for tensor in group["params"])
        found = ((self.things.lookup(tensor), tensor) for tensor in tensors)
        return {known.key: tensor for known, tensor in found if known is not None}

    def note(self, kind: type[Event], **fields: Any) -> Any:
        """Add an event at the script's line that is running."""
        if kind is not Seed:
            self.askers.settle()
        return self.journal.note(kind, script_line(), **fields)

    def optimizer(self, optimizer: torch.optim.Optimizer) -> Thing:
        """The thing for an optimizer, its parameters entered."""
        thing = self.things.of("optimizer", optimizer, made=len(self.journal.drafts))
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                known = self.things.parameter(parameter, now=len(self.journal.drafts))
                known.optimizers.setdefault(thing.ref, None)
        return thing

    def note_values(self) -> None:
        """Remember the parameters as they are: what differs later was changed outside of steps."""
        alive = {known.key: parameter for known, parameter in self.things.alive()}
        self.values = Sample(alive)
        self._note_versions(alive)

    def renew_values(self) -> None:
        """The same for the parameters that were looked at last: they are what they are now."""
        if self.values is not None:
            self.values.renew()
        self._note_versions({known.key: parameter for known, parameter in self.things.alive()})

    def _note_versions(self, tensors: dict[int, torch.Tensor]) -> None:
        self.versions = {key: version(tensor) for key, tensor in tensors.items()}

    def rewritten(self) -> frozenset[int]:
        """The parameters that were written to since then and hold the same values; to be asked where none has changed."""
        alive = self.things.alive()
        return frozenset(
            known.key for known, tensor in alive if self.versions.get(known.key, version(tensor)) != version(tensor)
        )

    def note_update(self, player: int | None) -> None:
        """An optimizer (by number) has stepped, or (None) the script has updated by hand."""
        self.updates[player] = self.updates.get(player, 0) + 1
        self.unanswered = 0
        self.waiting.clear()
        self.journal.iteration += 1

    def mark_changed(self, keys: frozenset[int]) -> None:
        """These parameters have moved."""
        for key in keys:
            self.things.parameters[key].changed = True


def unwrapped(module: nn.Module) -> tuple[nn.Module, str | None]:
    """The module inside DistributedDataParallel, DataParallel or `torch.compile`, and the name of the outermost wrapper."""
    wrapper: str | None = None
    while True:
        inner = children_of(vars(module))
        name = type(module).__name__
        if name == "OptimizedModule" and "_orig_mod" in inner:
            child = inner["_orig_mod"]
        elif name in ("DistributedDataParallel", "DataParallel") and "module" in inner:
            child = inner["module"]
        else:
            return module, wrapper
        wrapper = wrapper or name
        module = child


def autocast_of() -> str | None:
    """The low precision of automatic mixed precision, where it is on."""
    for device in ("cuda", "cpu"):
        if torch.is_autocast_enabled(device):
            return str(torch.get_autocast_dtype(device)).removeprefix("torch.")
    return None
