"""Lightning modules that optimize by hand with several optimizers (GANs): each optimizer is a player with a loss of its own.

`training_step` runs with stand-ins for the optimizers, which step nothing. What is differentiated before the stand-in of an
optimizer steps is that optimizer's loss.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from nnlint.frames import is_fatal
from nnlint.seeding import seeded
from nnlint.setup.adapters.training_step import TrainingStep
from nnlint.setup.errors import SetupError, SeveralPlayers
from nnlint.setup.training_setup import TrainingSetup

#: Surrounds a call of the module's hooks, given the module: outside a Trainer, with these further attributes.
Surrounding = Callable[[Any, Mapping[str, Any]], AbstractContextManager[Any]]


class _TurnEnds(BaseException):
    """Ends a training_step once the loss that is asked for is known; no `except Exception` of the user's stops it."""


@dataclass
class _Ledger:
    """What a training_step does with its optimizers.

    Attributes:
        wanted: index of the optimizer whose loss ends the step; None to let it run to its end.
        pending: losses differentiated since the last step; one loss may be for several optimizers.
        used: whether an optimizer has stepped since then.
        stepped: indices of the optimizers that stepped after a loss, in their order.
    """

    wanted: int | None
    pending: list[torch.Tensor] = field(default_factory=list)
    used: bool = False
    stepped: list[int] = field(default_factory=list)

    def differentiate(self, loss: torch.Tensor, *_: Any, **__: Any) -> None:
        """`manual_backward`."""
        if self.used:
            self.pending.clear()
            self.used = False
        self.pending.append(loss)

    def step(self, index: int) -> None:
        """The step of an optimizer."""
        if self.pending and index not in self.stepped:
            self.stepped.append(index)
        if index == self.wanted and self.pending:
            raise _TurnEnds
        self.used = True


class _StandIn:
    """An optimizer (or scheduler) that notes its steps and does nothing else; the rest is the real one's."""

    def __init__(self, real: Any, on_step: Callable[[], None]) -> None:
        self._real, self._on_step = real, on_step

    def step(self, *_: Any, **__: Any) -> None:
        """Note the step."""
        self._on_step()

    def zero_grad(self, *_: Any, **__: Any) -> None:
        """Leave the gradients alone: none are made here."""

    @contextmanager
    def toggle_model(self, *_: Any, **__: Any) -> Iterator[None]:
        """Freeze nothing: nnlint freezes the other players itself."""
        yield

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _nothing(*_: Any, **__: Any) -> None:
    """What toggling and clipping become."""


def _stand_ins(optimizers: Sequence[Any], schedulers: Sequence[Any], ledger: _Ledger) -> dict[str, Any]:
    """What replaces the module's own ways to its optimizers."""

    def step(index: int) -> Callable[[], None]:
        return lambda: ledger.step(index)

    made = [_StandIn(optimizer, step(index)) for index, optimizer in enumerate(optimizers)]
    plans = [_StandIn(scheduler, _nothing) for scheduler in schedulers]
    return {
        "optimizers": lambda *_, **__: made,
        "lr_schedulers": lambda: plans[0] if len(plans) == 1 else (plans or None),
        "manual_backward": ledger.differentiate,
        "toggle_optimizer": _nothing,
        "untoggle_optimizer": _nothing,
        "clip_gradients": _nothing,
    }


def _as_it_is(module: Any, _: Mapping[str, Any]) -> AbstractContextManager[Any]:
    return nullcontext(module)


@dataclass(frozen=True, eq=False)
class Turn(TrainingStep):
    """`own_loss` of one player: the loss that training_step differentiates before that player's optimizer steps.

    Attributes:
        surrounding: lets hooks run outside a Trainer, with these further attributes.
        optimizers: all that configure_optimizers gave, and its schedulers.
        index: of the player's own.
    """

    surrounding: Surrounding = field(default=_as_it_is, repr=False)
    optimizers: tuple[Any, ...] = ()
    schedulers: tuple[Any, ...] = ()
    index: int = 0

    def __call__(self, model: nn.Module, inputs: Any, targets: Any) -> torch.Tensor:
        """The loss of the turn.

        Raises:
            SetupError: RUN003, when the optimizer does not step after a loss.
        """
        ledger = _Ledger(self.index)
        replaced = _stand_ins(self.optimizers, self.schedulers, ledger)
        try:
            with self.surrounding(model, replaced):
                self.run(model, inputs, targets)
        except _TurnEnds:
            return torch.stack([loss.reshape(()) for loss in ledger.pending]).sum()
        raise SetupError("RUN003", f"training_step never stepped optimizer {self.index} after manual_backward(loss)")


def with_turns(
    setup: TrainingSetup, optimizers: Sequence[Any], schedulers: Sequence[Any], around: Surrounding
) -> str:
    """Split a module that optimizes by hand with several optimizers into its players.

    Returns:
        Why it cannot be split, in words.

    Raises:
        SeveralPlayers: a setup for each optimizer that steps.
    """
    if len(optimizers) < 2:
        return "a single optimizer"
    batch = _first_batch(setup)
    if batch is None:
        return "no batch of data"
    ledger = _Ledger(None)
    whole = Turn(surrounding=around, optimizers=tuple(optimizers), schedulers=tuple(schedulers))
    try:
        _rehearse(setup, whole, batch, ledger)
    except BaseException as error:
        if is_fatal(error) or isinstance(error, _TurnEnds):
            raise
        return f"training_step raised {type(error).__name__} outside a Trainer"
    if len(ledger.stepped) < 2:
        return "no two optimizers step after manual_backward(loss)"
    turns = sorted(ledger.stepped)
    names = _names(setup.model, [optimizers[index] for index in turns])
    raise SeveralPlayers(
        {
            name: setup.model_copy(update={"optimizer": optimizers[index], "own_loss": replace(whole, index=index)})
            for name, index in zip(names, turns, strict=True)
        }
    )


def _first_batch(setup: TrainingSetup) -> Any:
    """The first batch of data that can be read again; None where there is none: an iterator would lose it."""
    if setup.data is None or isinstance(setup.data, Iterator):
        return None
    with seeded(0):
        return next(iter(setup.data), None)


def _rehearse(setup: TrainingSetup, step: Turn, batch: Any, ledger: _Ledger) -> None:
    """Let training_step run once on a copy, for the order of its steps."""
    with ExitStack() as stack:
        stack.enter_context(seeded(0))
        stack.enter_context(torch.enable_grad())
        twin: Any = copy.deepcopy(setup.model).train()
        replaced = _stand_ins(step.optimizers, step.schedulers, ledger)
        stack.enter_context(step.surrounding(twin, replaced))
        step.of(batch, batch, None).run(twin, batch, None)


def _names(model: nn.Module, optimizers: Sequence[Any]) -> list[str]:
    """What to call the players: the part of the model that an optimizer holds, else its number."""
    named = {id(parameter): name for name, parameter in model.named_parameters()}
    found = []
    for index, optimizer in enumerate(optimizers):
        held = [named.get(id(tensor), "") for group in optimizer.param_groups for tensor in group["params"]]
        parts = {name.partition(".")[0] for name in held}
        name = next(iter(parts)) if len(parts) == 1 else ""
        found.append(name if name and name not in found else f"optimizer {index}")
    return found
