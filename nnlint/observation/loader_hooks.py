"""Notes what a script reads from its data loaders."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader

from nnlint.observation.installer import Installer
from nnlint.observation.rest import Rest
from nnlint.observation.state import State
from nnlint.observation.torch_private import DRAW, LOADER_ITERATOR, RESTART


class LoaderHooks:
    """Patches `DataLoader` and its iterators."""

    def __init__(self, installer: Installer, state: State, rest: Rest) -> None:
        self._installer = installer
        self._tell = installer.tell
        self._state = state
        self._rest = rest

    def install(self) -> None:
        """Put them in place."""
        self._installer.replace(DataLoader, "__init__", self._installer.after_init(self._rest.loader_made))
        self._installer.replace(LOADER_ITERATOR, "__init__", self._iterator)
        self._installer.replace(LOADER_ITERATOR, "__next__", self._next)
        self._installer.replace(LOADER_ITERATOR, DRAW, self._next_index)
        self._installer.replace(LOADER_ITERATOR, RESTART, self._reset)

    def _iterator(self, original: Any) -> Any:
        def begin(iterator: Any, loader: Any, *args: Any, **kwargs: Any) -> None:
            if self._state.listens():
                self._tell(self._rest.pass_begins, iterator, loader)
            original(iterator, loader, *args, **kwargs)

        return begin

    def _reset(self, original: Any) -> Any:
        def _reset(iterator: Any, loader: Any, first_iter: bool = False) -> None:  # noqa: FBT001, FBT002 torch's own
            reading = self._rest.reading(iterator)
            if self._state.listens() and not first_iter and reading is not None and reading.batches:
                self._tell(self._rest.pass_begins, iterator, loader)
            original(iterator, loader, first_iter)

        return _reset

    def _next(self, original: Any) -> Any:
        def following(iterator: Any) -> Any:
            if not self._state.listens():
                return original(iterator)
            if self._installer.host.folds(iterator):
                self._tell(self._rest.pass_ends, iterator, folded=True)
                raise StopIteration
            self._tell(self._rest.read_begins, iterator)
            try:
                batch = original(iterator)
            except StopIteration:
                self._tell(self._rest.pass_ends, iterator, folded=False)
                raise
            self._tell(self._rest.read, iterator, batch)
            return batch

        return following

    def _next_index(self, original: Any) -> Any:
        def _next_index(iterator: Any) -> Any:
            indices = original(iterator)
            if self._state.listens():
                self._tell(self._rest.drawn, iterator, indices)
            return indices

        return _next_index
