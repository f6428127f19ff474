"""Takes the material of training setups from the script's first iterations: one player for each optimizer that steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from nnlint.finding import Location
from nnlint.observation.graphless import summands_without_graph
from nnlint.observation.initial import Initial
from nnlint.observation.journal import Keys
from nnlint.observation.state import State, unwrapped
from nnlint.observation.tape import Tape, TapeMode
from nnlint.observation.things import script_line

#: Steps after which no further player is waited for.
_PATIENCE = 16
#: Losses of one iteration that are kept.
_LOSSES = 64


@dataclass
class Loss:
    """A tensor on which backward was called, or (it does not accumulate) that `autograd.grad` differentiated.

    Attributes:
        number: of the tensor on the tape.
        calls: positions of the calls that it depends on.
        value: its value, without the factor of a scaler.
        reached: the parameters that its graph reaches.
        location: the script's line.
        at_step: steps before it.
        accumulates: it filled `.grad`.
        trainable: whether each known parameter (by number) required gradients then: a script may freeze networks in turn.
    """

    number: int
    calls: list[int]
    value: float | None
    reached: Keys
    location: Location | None
    at_step: int
    accumulates: bool = True
    trainable: Mapping[int, bool] = field(default_factory=dict)


@dataclass
class PlayerMaterial:
    """What the first iteration of one optimizer was, or of several over the same losses (one for each layer, or kind of layer).

    Attributes:
        optimizers: none for updates by hand.
        losses: those that filled its parameters before its first step.
        has_loss: False where the script raised before it came to a loss: what stands there is the model's own output.
    """

    optimizers: list[torch.optim.Optimizer]
    losses: list[Loss]
    has_loss: bool = True


@dataclass
class Players:
    """The taker of an observation. It lets the tape go as soon as every optimizer that takes part has its material."""

    state: State
    initial: Initial = field(default_factory=Initial)
    tape: Tape = field(default_factory=Tape)
    players: list[PlayerMaterial] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    #: Why the tape could not be used, where it could not.
    reason: str | None = None
    #: The number of the last loss whose graph holds no parameter.
    unreached: int | None = None
    _mode: TapeMode = field(init=False)
    _steps: int = 0
    _compiled: bool = False

    def __post_init__(self) -> None:
        self._mode = TapeMode(self.tape)

    # ---------------------------------------------------------------- the events

    def forward_begins(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """An outermost module is called, with gradients on."""
        inner, wrapper = unwrapped(module)
        self.initial.keep(inner)
        self._mode.paused += 1
        if wrapper == "OptimizedModule":
            self._mode.off()  # dynamo would trace it
            self._compiled = True
        self.tape.enter(args, kwargs, records=True)

    def forward_ends(self, module: nn.Module, output: Any) -> None:
        """It returned."""
        self._mode.paused -= 1
        self.tape.leave(unwrapped(module)[0], output)
        self._mode.on()

    def forward_failed(self, module: nn.Module, error: BaseException) -> None:
        """It raised."""
        self._mode.paused -= 1
        self.tape.broke(unwrapped(module)[0], error)

    def backward_begins(
        self, losses: tuple[Tensor, ...], reached: Keys, *, accumulates: bool
    ) -> tuple[Location, ...]:
        """The engine is about to run from these tensors; the lines of their summands without a graph."""
        if len(self.losses) >= _LOSSES or len(losses) != 1:
            return ()
        if not reached:
            self.unreached = self.tape.number_of(losses[0])
            return ()
        calls = self.tape.slice_to(losses[0])
        if calls is None:
            seen = bool(self.tape.calls)
            self.reason = (
                "the loss comes out of code that torch does not let nnlint see (a compiled or custom function)"
                if seen
                else "no module call led to the loss (`layer.forward(x)`, bare tensors and compiled functions are none)"
            )
            return ()
        number = self.tape.number_of(losses[0])
        assert number is not None
        value = float(losses[0].detach()) / (self.state.loss_scale or 1.0) if losses[0].numel() == 1 else None
        flags = self._flags()
        self.losses.append(Loss(number, calls, value, reached, script_line(), self._steps, accumulates, flags))
        return summands_without_graph(self.tape, number)

    def step_begins(self, optimizer: torch.optim.Optimizer) -> None:
        """The optimizer's state and parameters are kept as they are before its first step."""
        self.initial.keep_optimizer(optimizer)

    def stepped(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer made a step: its first one makes it a player."""
        self._steps += 1
        if all(found is not optimizer for player in self.players for found in player.optimizers):
            own = Keys(self.state.parameters_of(optimizer))
            reaching = [loss for loss in self.losses if loss.reached & own]
            # A gradient penalty differentiates on the way to its loss; a script may well take all gradients in this way.
            losses = [loss for loss in reaching if loss.accumulates] or reaching
            if losses:
                self._join(optimizer, self._of_one_iteration(losses, own))
        if self._has_all():
            self.stop()

    def scaled(self, result: Any, original: Any) -> None:
        """A scaler multiplied a loss: the tape goes on without the factor."""
        if isinstance(result, Tensor) and isinstance(original, Tensor):
            self.tape.alias(result, original)

    def pause(self, change: int) -> None:
        """Leave the calls of a scaler out."""
        self._mode.paused += change

    # ---------------------------------------------------------------- the end

    def stop(self) -> None:
        """Take the mode off; the tape stays."""
        self._mode.off()
        if self.state.taker is self:
            self.state.taker = None

    def finish(self, error: BaseException | None = None) -> list[PlayerMaterial]:
        """All players, those without a step too: a script that updates by hand, or never, or raised this before it could."""
        self.stop()
        if error is not None and not self.players and not self.losses:
            return self._of_failure(error)
        if not self.players and any(loss.accumulates for loss in self.losses):
            self.losses = [loss for loss in self.losses if loss.accumulates]
        if not self.players and self.losses:
            self.players.append(PlayerMaterial(self._holders(self.losses[0].reached), self.losses[:1]))
        return self.players

    def _join(self, optimizer: torch.optim.Optimizer, losses: list[Loss]) -> None:
        numbers = {loss.number for loss in losses}
        for player in self.players:
            if {loss.number for loss in player.losses} == numbers:
                player.optimizers.append(optimizer)
                return
        self.players.append(PlayerMaterial([optimizer], losses))

    def _of_one_iteration(self, losses: list[Loss], own: Keys) -> list[Loss]:
        """The losses that belong together: of one line the first alone (an accumulation), of several lines one each.

        Those before the newest step of any optimizer belong to that step.
        """
        since = max((loss.at_step for loss in losses), default=0)
        newest = [loss for loss in losses if loss.at_step == since]
        return list({loss.location: loss for loss in reversed(newest)}.values())[::-1]

    def _of_failure(self, error: BaseException) -> list[PlayerMaterial]:
        """The player whose first forward, loss or backward raised."""
        number = self.tape.end_at_failure(error)
        if number is None:
            number = self.unreached
        if number is None or self.tape.values[number].made_by is None:
            return []
        calls = self.tape.slice_of(number)
        modules = [call.function for call in (self.tape.calls[position] for position in calls) if call.is_module]
        known = (self.state.things.lookup(tensor) for module in modules for tensor in module.parameters())
        reached = Keys(entry.key for entry in known if entry is not None)
        holders = self._holders(reached)
        if not reached:
            return []
        failed = isinstance(self.tape.calls[calls[-1]].function, nn.Module)
        loss = Loss(number, calls, None, reached, self.tape.calls[calls[-1]].location, 0, trainable=self._flags())
        return [PlayerMaterial(holders, [loss], has_loss=not failed)]

    def _flags(self) -> dict[int, bool]:
        return {known.key: tensor.requires_grad for known, tensor in self.state.things.alive()}

    def _holders(self, reached: Keys) -> list[torch.optim.Optimizer]:
        """The optimizers that hold parameters of a loss and never stepped."""
        refs = {ref: None for key in sorted(reached) for ref in self.state.things.parameters[key].optimizers}
        found = (self.state.things.known[ref].object() for ref in refs)
        return [optimizer for optimizer in found if isinstance(optimizer, torch.optim.Optimizer)][:1]

    def _has_all(self) -> bool:
        """Whether every optimizer of the script is a player; one that does not step is not waited for without end."""
        if self._steps >= _PATIENCE:
            return True
        optimizers = (thing.object() for thing in self.state.things.known if thing.what == "optimizer")
        own = [optimizer for player in self.players for optimizer in player.optimizers]
        return all(any(found is other for other in own) for found in optimizers if found is not None)
