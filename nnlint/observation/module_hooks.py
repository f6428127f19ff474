"""Notes where a script sets a module's mode, or reads or loads its state."""

from __future__ import annotations

from typing import Any

from torch import nn

from nnlint.observation.forwards import Forwards
from nnlint.observation.installer import Installer
from nnlint.observation.rest import Rest, own_state
from nnlint.observation.state import State


class ModuleHooks:
    """Patches `train`, `state_dict` and `load_state_dict`."""

    def __init__(self, installer: Installer, state: State, forwards: Forwards, rest: Rest) -> None:
        self._installer = installer
        self._tell = installer.tell
        self._state = state
        self._forwards = forwards
        self._rest = rest

    def install(self) -> None:
        """Put them in place."""
        self._installer.replace(nn.Module, "train", self._train)
        self._installer.replace(nn.Module, "state_dict", self._state_dict)
        self._installer.replace(nn.Module, "load_state_dict", self._load_state_dict)

    def _train(self, original: Any) -> Any:
        state, rest = self._state, self._rest

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

    def _state_dict(self, original: Any) -> Any:
        state, rest = self._state, self._rest

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
            self._tell(self._forwards.note_hand_updates)
            result = original(module, state_dict, *args, **kwargs)
            self._tell(self._rest.state_loaded, module, state_dict, own, result)
            return result

        return load_state_dict
