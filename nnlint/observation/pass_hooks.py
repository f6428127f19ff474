"""Notes each forward and each backward of a script."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nnlint.observation.backwards import Backwards
from nnlint.observation.forwards import Forwards
from nnlint.observation.installer import Installer
from nnlint.observation.state import State
from nnlint.observation.torch_private import ENGINE


class PassHooks:
    """Patches the call of a module and autograd's engine."""

    def __init__(self, installer: Installer, state: State, forwards: Forwards, backwards: Backwards) -> None:
        self._installer = installer
        self._tell = installer.tell
        self._state = state
        self._forwards = forwards
        self._backwards = backwards

    def install(self) -> None:
        """Put them in place."""
        self._installer.replace(nn.Module, "__call__", self._call)
        self._installer.replace(*ENGINE, self._run_backward)

    def _call(self, original: Any) -> Any:
        state, forwards, tell = self._state, self._forwards, self._tell

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

    def _run_backward(self, original: Any) -> Any:
        state, backwards, tell = self._state, self._backwards, self._tell

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
                self._installer.host.backwarded()
            return result

        return _engine_run_backward
