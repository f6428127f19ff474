"""Puts the observation's patches in place: what all groups of hooks share.

Each patch calls the original with the caller's own arguments and returns its result; what is noted before and after happens with
torch's overrides switched off, and an exception of the observation's own ends the observation, never the script.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

from nnlint.capture.torch_private import without_torch_function
from nnlint.observation.patches import Patches
from nnlint.observation.state import State


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


class Installer:
    """The patches of one observation, and how they note what they see.

    Args:
        state: of the observation.
        host: is told where noting fails.
    """

    def __init__(self, state: State, host: Host) -> None:
        self.host = host
        self.patches = Patches()
        self.replace = self.patches.replace
        self._state = state

    def tell(self, what: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Note something; None where the observation failed at it."""
        try:
            with without_torch_function(), torch.no_grad():
                return what(*args, **kwargs)
        except Exception as error:
            self.host.broke(error)
            return None

    def after_init(self, told: Callable[[Any], None]) -> Callable[[Any], Any]:
        """A patch of an `__init__`: `told` is called with the object once it is made."""
        def make(original: Any) -> Any:
            def make_it(made: Any, *args: Any, **kwargs: Any) -> None:
                self._state.in_making += 1
                try:
                    original(made, *args, **kwargs)
                finally:
                    self._state.in_making -= 1
                if self._state.listens():
                    self.tell(told, made)

            return make_it

        return make
