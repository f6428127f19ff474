"""The one file that installs the observation's patches, and takes them away again.

Each patch calls the original with the caller's own arguments and returns its result; what is noted before and after happens with
torch's overrides switched off, and an exception of the observation's own ends the observation, never the script.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.data import DataLoader

from nnlint.capture.torch_private import without_torch_function
from nnlint.observation.backwards import Backwards
from nnlint.observation.forwards import Forwards
from nnlint.observation.patches import Patches
from nnlint.observation.rest import Rest, own_state
from nnlint.observation.saving import Keeper
from nnlint.observation.seeds import watch_seeds
from nnlint.observation.state import State
from nnlint.observation.steps import Steps, rates_of
from nnlint.observation.torch_private import DRAW, ENGINE, LOADER_ITERATOR, RESTART


class Host(Protocol):
    """Decides on the course of the observation."""

    def stepped(self) -> None:
        """An outermost step has ended; may raise the exception that stops the script."""

    def backwarded(self) -> None:
        """A backward has ended; may stop the script as well."""

    def folds(self, iterator: Any) -> bool:
        """Whether a loader's pass is to end now."""

    def broke(self, error: Exception) -> None:
        """The observation itself failed."""

    @property
    def has_folded(self) -> bool:
        """Whether a pass over a loader was ended early."""


class Hooks:
    """All patches of one observation."""

    def __init__(self, state: State, host: Host) -> None:
        self._state = state
        self._host = host
        self._patches = Patches()
        self._replace = self._patches.replace
        self.forwards = Forwards(state)
        self.backwards = Backwards(state)
        self.steps = Steps(state, self.backwards, self.forwards)
        self.rest = Rest(state, self.forwards)
        self.keeper = Keeper()

    # ---------------------------------------------------------------- on and off

    def install(self) -> None:
        """Put everything in place."""
        self._modules()
        self._engine()
        self._optimizers()
        self._clipping()
        self._schedulers()
        self._scalers()
        self._loaders()
        self._replace(torch, "save", self._save)
        watch_seeds(self._replace, self._seeded)
        self._patches.rebind()
        self._state.active = True

    def look_at_last(self) -> None:
        """Note what the script did by hand after its last call that was seen."""
        self._tell(self.backwards.note_cleared)
        self._tell(self.forwards.note_hand_updates)

    def remove(self) -> None:
        """Take everything away; may be called again."""
        self._state.active = False
        self._patches.undo()

    def _tell(self, what: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Note something; None where the observation failed at it."""
        try:
            with without_torch_function(), torch.no_grad():
                return what(*args, **kwargs)
        except Exception as error:
            self._host.broke(error)
            return None

    # ---------------------------------------------------------------- modules

    def _modules(self) -> None:
        self._replace(nn.Module, "__call__", self._call)
        self._replace(nn.Module, "train", self._train)
        self._replace(nn.Module, "zero_grad", self._zero_grad)
        self._replace(nn.Module, "state_dict", self._state_dict)
        self._replace(nn.Module, "load_state_dict", self._load_state_dict)

    def _call(self, original: Any) -> Any:
        state, forwards, tell = self._state, self.forwards, self._tell

        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if torch.compiler.is_compiling() or not state.active or state.in_forward or state.in_backward:
                return original(module, *args, **kwargs)
            records = torch.is_grad_enabled()
            draft = tell(forwards.begins, module, args, kwargs, records=records) if state.listens() else None
            if draft is None:
                return original(module, *args, **kwargs)
            try:
                result = original(module, *args, **kwargs)
            except BaseException as error:
                tell(forwards.failed, draft, module, error)
                raise
            tell(forwards.ends, draft, module, result)
            return result

        return call

    def _train(self, original: Any) -> Any:
        state, rest = self._state, self.rest

        def train(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if rest.in_mode or not state.listens():
                return original(module, *args, **kwargs)
            rest.in_mode += 1
            try:
                result = original(module, *args, **kwargs)
            finally:
                rest.in_mode -= 1
            self._tell(rest.mode_set, module, module.training)
            return result

        return train

    def _zero_grad(self, original: Any) -> Any:
        def zero_grad(owner: Any, *args: Any, **kwargs: Any) -> Any:
            if self._state.listens():
                self._tell(self.backwards.note_cleared)
            result = original(owner, *args, **kwargs)
            if self._state.listens():
                self._tell(self.steps.cleared, owner)
            return result

        return zero_grad

    def _state_dict(self, original: Any) -> Any:
        state, rest = self._state, self.rest

        def state_dict(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if rest.in_state or not state.listens():
                return original(module, *args, **kwargs)
            rest.in_state += 1
            try:
                result = original(module, *args, **kwargs)
            finally:
                rest.in_state -= 1
            self._tell(rest.state_taken, module, result)
            return result

        return state_dict

    def _load_state_dict(self, original: Any) -> Any:
        def load_state_dict(module: nn.Module, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._state.listens():
                return original(module, state_dict, *args, **kwargs)
            own = self._tell(own_state, module, state_dict)
            self._tell(self.forwards.note_hand_updates)
            result = original(module, state_dict, *args, **kwargs)
            self._tell(self.rest.state_loaded, module, state_dict, own)
            return result

        return load_state_dict

    # ---------------------------------------------------------------- the engine

    def _engine(self) -> None:
        self._replace(*ENGINE, self._run_backward)

    def _run_backward(self, original: Any) -> Any:
        state, backwards, tell = self._state, self.backwards, self._tell

        def _engine_run_backward(outputs: Any, *args: Any, **kwargs: Any) -> Any:
            if torch.compiler.is_compiling() or not state.listens() or state.in_backward:
                return original(outputs, *args, **kwargs)
            losses = tuple(tensor for tensor in outputs if isinstance(tensor, Tensor))
            retain, create = (bool(value) for value in (*args, False, False, False)[1:3])
            accumulates = bool(kwargs.get("accumulate_grad", False))
            facts = {"accumulates": accumulates, "retain": retain, "create": create}
            draft = tell(backwards.begins, losses, **facts) if losses else None
            try:
                result = original(outputs, *args, **kwargs)
            except BaseException as error:
                if draft is not None:
                    tell(backwards.failed, draft, error)
                raise
            if draft is not None:
                del losses
                tell(backwards.ends, draft)
                self._host.backwarded()
            return result

        return _engine_run_backward

    # ---------------------------------------------------------------- optimizers

    def _optimizers(self) -> None:
        self._replace(torch.optim.Optimizer, "__init__", self._after_init(self.steps.made))
        self._replace(torch.optim.Optimizer, "zero_grad", self._zero_grad)
        before = register_optimizer_step_pre_hook(self._step_begins)
        after = register_optimizer_step_post_hook(self._step_ends)
        self._patches.on_undo(before.remove, after.remove)

    def _after_init(self, told: Callable[[Any], None]) -> Callable[[Any], Any]:
        def make(original: Any) -> Any:
            def make_it(made: Any, *args: Any, **kwargs: Any) -> None:
                self._state.in_making += 1
                try:
                    original(made, *args, **kwargs)
                finally:
                    self._state.in_making -= 1
                if self._state.listens():
                    self._tell(told, made)

            return make_it

        return make

    def _step_begins(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self._state.listens():
            self._tell(self.steps.begins, optimizer, (*args[1:], *kwargs.values()))

    def _step_ends(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self._state.listens() and self._tell(self._step_ended, optimizer):
            self._host.stepped()

    def _step_ended(self, optimizer: Any) -> bool:
        is_outermost = self.steps.ends(optimizer)
        if is_outermost:
            self.rest.stepped(len(self._state.journal.drafts) - 1)
        return is_outermost

    def _clipping(self) -> None:
        for owner in (torch.nn.utils, clip_grad):
            self._replace(owner, "clip_grad_norm_", lambda original: self._clip(original, "norm", "max_norm"))
            self._replace(owner, "clip_grad_value_", lambda original: self._clip(original, "value", "clip_value"))

    def _clip(self, original: Any, how: str, limit: str) -> Any:
        def clip(parameters: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._state.listens():
                return original(parameters, *args, **kwargs)
            if not isinstance(parameters, Tensor):
                parameters = list(parameters)
            found = [parameters] if isinstance(parameters, Tensor) else parameters
            value = args[0] if args else kwargs.get(limit, 0.0)
            self._tell(self.steps.clips, found, how=how, limit=float(value))
            result = original(parameters, *args, **kwargs)
            self._tell(self.steps.clipped)
            return result

        return clip

    def _schedulers(self) -> None:
        base = torch.optim.lr_scheduler.LRScheduler
        waiting = [base, torch.optim.lr_scheduler.ReduceLROnPlateau]
        while waiting:
            kind = waiting.pop()
            waiting += kind.__subclasses__()
            if "step" in vars(kind):
                self._replace(kind, "step", self._schedule)
            if "__init__" in vars(kind):  # not all of them call the base's
                self._replace(kind, "__init__", self._after_init(self.steps.scheduler_made))

    def _schedule(self, original: Any) -> Any:
        state = self._state

        def step(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            # A scheduler makes its first step itself, while it is made.
            if state.in_schedule or state.in_making or not state.listens():
                return original(scheduler, *args, **kwargs)
            before = self._tell(rates_of, scheduler) or ()
            state.in_schedule += 1
            try:
                result = original(scheduler, *args, **kwargs)
            finally:
                state.in_schedule -= 1
            self._tell(self.steps.scheduled, scheduler, before)
            return result

        return step

    def _scalers(self) -> None:
        scaler = torch.amp.GradScaler
        self._replace(scaler, "__init__", self._after_init(self.steps.scaler_made))
        for name in ("scale", "unscale_", "step", "update"):
            self._replace(scaler, name, self._scaler)

    def _scaler(self, original: Any) -> Any:
        call = original.__name__.rstrip("_")

        def method(scaler: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._state.listens() or not scaler.is_enabled():
                return original(scaler, *args, **kwargs)
            optimizer = args[0] if args and call in ("unscale", "step") else None
            factor = self._tell(scaler.get_scale) or 1.0
            draft = self._tell(self.steps.scaler_called, scaler, call, optimizer, factor)
            taker = self._state.taker if call == "scale" else None
            if taker is not None:
                taker.pause(1)
            try:
                result = original(scaler, *args, **kwargs)
            except BaseException as error:
                if draft is not None:
                    self._tell(self.steps.scaler_returned, draft, error)
                raise
            finally:
                if taker is not None:
                    taker.pause(-1)
            if taker is not None and args:
                self._tell(taker.scaled, result, args[0])
            if draft is not None:
                self._tell(self.steps.scaler_returned, draft, None)
            return result

        return method

    # ---------------------------------------------------------------- data and seeds

    def _loaders(self) -> None:
        self._replace(DataLoader, "__init__", self._after_init(self.rest.loader_made))
        self._replace(LOADER_ITERATOR, "__init__", self._iterator)
        self._replace(LOADER_ITERATOR, "__next__", self._next)
        self._replace(LOADER_ITERATOR, DRAW, self._next_index)
        self._replace(LOADER_ITERATOR, RESTART, self._reset)

    def _iterator(self, original: Any) -> Any:
        def begin(iterator: Any, loader: Any, *args: Any, **kwargs: Any) -> None:
            if self._state.listens():
                self._tell(self.rest.pass_begins, iterator, loader)
            original(iterator, loader, *args, **kwargs)

        return begin

    def _reset(self, original: Any) -> Any:
        def _reset(iterator: Any, loader: Any, first_iter: bool = False) -> None:  # noqa: FBT001, FBT002 torch's own
            reading = self.rest.reading(iterator)
            if self._state.listens() and not first_iter and reading is not None and reading.batches:
                self._tell(self.rest.pass_begins, iterator, loader)
            original(iterator, loader, first_iter)

        return _reset

    def _next(self, original: Any) -> Any:
        def following(iterator: Any) -> Any:
            if not self._state.listens():
                return original(iterator)
            if self._host.folds(iterator):
                self._tell(self.rest.pass_ends, iterator, folded=True)
                raise StopIteration
            self._tell(self.rest.read_begins, iterator)
            try:
                batch = original(iterator)
            except StopIteration:
                self._tell(self.rest.pass_ends, iterator, folded=False)
                raise
            self._tell(self.rest.read, iterator, batch)
            return batch

        return following

    def _next_index(self, original: Any) -> Any:
        def _next_index(iterator: Any) -> Any:
            indices = original(iterator)
            if self._state.listens():
                self._tell(self.rest.drawn, iterator, indices)
            return indices

        return _next_index

    def _seeded(self, what: str, seed: Any) -> None:
        if self._state.listens():
            self._tell(self.rest.seeded, what, seed)

    def _save(self, original: Any) -> Any:
        return self.keeper.saving(original, self._saved, lambda: self._state.active and self._host.has_folded)

    def _saved(self, value: Any) -> None:
        if self._state.listens():
            self._tell(self.rest.consumed, value)
