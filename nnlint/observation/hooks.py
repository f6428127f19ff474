"""Everything that one observation puts in place, and takes away again."""

from __future__ import annotations

from typing import Any

import torch

from nnlint.observation.backwards import Backwards
from nnlint.observation.forwards import Forwards
from nnlint.observation.installer import Host, Installer
from nnlint.observation.loader_hooks import LoaderHooks
from nnlint.observation.module_hooks import ModuleHooks
from nnlint.observation.pass_hooks import PassHooks
from nnlint.observation.rest import Rest
from nnlint.observation.saving import Keeper
from nnlint.observation.seeds import watch_seeds
from nnlint.observation.state import State
from nnlint.observation.steps import Steps
from nnlint.observation.update_hooks import UpdateHooks


class Hooks:
    """All patches of one observation, and what notes for them."""

    def __init__(self, state: State, host: Host) -> None:
        self._state = state
        self._installer = Installer(state, host)
        self._tell = self._installer.tell
        self._host = host
        self._forwards = Forwards(state)
        self._backwards = Backwards(state)
        self._steps = Steps(state, self._backwards, self._forwards)
        self.rest = Rest(state, self._forwards)
        self._keeper = Keeper()

    def install(self) -> None:
        """Put everything in place."""
        shared = (self._installer, self._state)
        PassHooks(*shared, self._forwards, self._backwards).install()
        ModuleHooks(*shared, self._forwards, self.rest).install()
        UpdateHooks(*shared, self._steps, self._backwards, self.rest).install()
        LoaderHooks(*shared, self.rest).install()
        self._installer.replace(torch, "save", self._save)
        watch_seeds(self._installer.replace, self._seeded)
        self._installer.patches.rebind()
        self._state.active = True

    def look_at_last(self) -> None:
        """Note what the script did by hand after its last call that was seen."""
        self._tell(self._backwards.note_cleared)
        self._tell(self._forwards.note_hand_updates)

    def remove(self) -> None:
        """Take everything away; may be called again."""
        self._state.active = False
        self._installer.patches.undo()

    def _seeded(self, what: str, seed: Any) -> None:
        if self._state.listens():
            self._tell(self.rest.seeded, what, seed)

    def _save(self, original: Any) -> Any:
        return self._keeper.saving(original, self._saved, lambda: self._state.active and self._host.has_folded)

    def _saved(self, value: Any) -> None:
        if self._state.listens():
            self._tell(self.rest.consumed, value)
