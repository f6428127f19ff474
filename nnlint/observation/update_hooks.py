"""Notes what makes an update: cleared gradients, clipping, scaling, the optimizer's step and the schedule."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from nnlint.observation.backwards import Backwards
from nnlint.observation.installer import Installer
from nnlint.observation.rest import Rest
from nnlint.observation.state import State
from nnlint.observation.steps import Steps, rates_of


class UpdateHooks:
    """Patches optimizers, schedulers, gradient scalers and the functions that clip."""

    def __init__(self, installer: Installer, state: State, steps: Steps, backwards: Backwards, rest: Rest) -> None:
        self._installer = installer
        self._tell = installer.tell
        self._state = state
        self._steps = steps
        self._backwards = backwards
        self._rest = rest

    def install(self) -> None:
        """Put them in place."""
        self._optimizers()
        self._clipping()
        self._schedulers()
        self._scalers()

    def _optimizers(self) -> None:
        self._installer.replace(nn.Module, "zero_grad", self._zero_grad)
        self._installer.replace(torch.optim.Optimizer, "__init__", self._installer.after_init(self._steps.made))
        self._installer.replace(torch.optim.Optimizer, "zero_grad", self._zero_grad)
        before = register_optimizer_step_pre_hook(self._step_begins)
        after = register_optimizer_step_post_hook(self._step_ends)
        self._installer.patches.on_undo(before.remove, after.remove)

    def _zero_grad(self, original: Any) -> Any:
        def zero_grad(owner: Any, *args: Any, **kwargs: Any) -> Any:
            if self._state.listens():
                self._tell(self._backwards.note_cleared)
            result = original(owner, *args, **kwargs)
            if self._state.listens():
                self._tell(self._steps.cleared, owner)
            return result

        return zero_grad

    def _step_begins(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self._state.listens():
            self._tell(self._steps.begins, optimizer, (*args[1:], *kwargs.values()))

    def _step_ends(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self._state.listens() and self._tell(self._step_ended, optimizer):
            self._installer.host.stepped()

    def _step_ended(self, optimizer: Any) -> bool:
        is_outermost = self._steps.ends(optimizer)
        if is_outermost:
            self._rest.stepped(len(self._state.journal.drafts) - 1)
        return is_outermost

    def _clipping(self) -> None:
        for owner in (torch.nn.utils, clip_grad):
            self._installer.replace(owner, "clip_grad_norm_", lambda original: self._clip(original, "norm", "max_norm"))
            self._installer.replace(owner, "clip_grad_value_", lambda original: self._clip(original, "value", "clip_value"))

    def _clip(self, original: Any, how: str, limit: str) -> Any:
        def clip(parameters: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._state.listens():
                return original(parameters, *args, **kwargs)
            if not isinstance(parameters, Tensor):
                parameters = list(parameters)
            found = [parameters] if isinstance(parameters, Tensor) else parameters
            value = args[0] if args else kwargs.get(limit, 0.0)
            self._tell(self._steps.clips, found, how=how, limit=float(value))
            result = original(parameters, *args, **kwargs)
            self._tell(self._steps.clipped)
            return result

        return clip

    def _schedulers(self) -> None:
        base = torch.optim.lr_scheduler.LRScheduler
        waiting = [base, torch.optim.lr_scheduler.ReduceLROnPlateau]
        while waiting:
            kind = waiting.pop()
            waiting += kind.__subclasses__()
            if "step" in vars(kind):
                self._installer.replace(kind, "step", self._schedule)
            if "__init__" in vars(kind):  # not all of them call the base's
                self._installer.replace(kind, "__init__", self._installer.after_init(self._steps.scheduler_made))

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
            self._tell(self._steps.scheduled, scheduler, before)
            return result

        return step

    def _scalers(self) -> None:
        scaler = torch.amp.GradScaler
        self._installer.replace(scaler, "__init__", self._installer.after_init(self._steps.scaler_made))
        for name in ("scale", "unscale_", "step", "update"):
            self._installer.replace(scaler, name, self._scaler)

    def _scaler(self, original: Any) -> Any:
        call = original.__name__.rstrip("_")

        def method(scaler: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._state.listens() or not scaler.is_enabled():
                return original(scaler, *args, **kwargs)
            optimizer = args[0] if args and call in ("unscale", "step") else None
            factor = self._tell(scaler.get_scale) or 1.0
            draft = self._tell(self._steps.scaler_called, scaler, call, optimizer, factor)
            taker = self._state.taker if call == "scale" else None
            if taker is not None:
                taker.pause(1)
            try:
                result = original(scaler, *args, **kwargs)
            except BaseException as error:
                if draft is not None:
                    self._tell(self._steps.scaler_returned, draft, error)
                raise
            finally:
                if taker is not None:
                    taker.pause(-1)
            if taker is not None and args:
                self._tell(taker.scaled, result, args[0])
            if draft is not None:
                self._tell(self._steps.scaler_returned, draft, None)
            return result

        return method
