"""Where each module was constructed: the line of the user's code that a fault of initialization or wiring points at."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nnlint.capture.modules import held_plainly
from nnlint.capture.torch_private import patched_module_init
from nnlint.finding import Location
from nnlint.frames import construction_line

if TYPE_CHECKING:
    from typing_extensions import Self


class ConstructionSites:
    """Records, while it is entered, the construction line of every `nn.Module`.

    `nn.Module.__init__` is replaced for that time and put back on leaving, whatever happens inside. Modules are held
    weakly, so recording keeps nothing alive.
    """

    def __init__(self) -> None:
        self._sites: dict[int, tuple[weakref.ref[nn.Module], Location]] = {}
        self._entered: list[AbstractContextManager[None]] = []

    def __enter__(self) -> Self:
        self._entered.append(patched_module_init(self._recording))
        self._entered[-1].__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered.pop().__exit__(kind, error, trace)

    def _recording(self, original: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(original)
        def recording_init(module: nn.Module, *args: Any, **kwargs: Any) -> None:
            original(module, *args, **kwargs)
            if not torch.compiler.is_compiling():
                self._record(module, inspect.currentframe())

        return recording_init

    def _record(self, module: nn.Module, frame: FrameType | None) -> None:
        site = construction_line(module, frame)
        if site is not None:
            self._sites[id(module)] = (weakref.ref(module), site)

    def of(self, module: nn.Module) -> Location | None:
        """Where `module` was constructed, or None if that was not seen."""
        known = self._sites.get(id(module))
        # The id of a module that is gone may have been given to another one.
        return known[1] if known is not None and known[0]() is module else None

    def by_path(self, model: nn.Module) -> dict[str, Location]:
        """Module path -> construction line, for every module of `model` for which one is known.

        A module that no constructor made (a deep copy, as in `nn.TransformerEncoder`) takes the line of the module
        that holds it. Modules in plain containers are there as a recorded run calls them: `layers[0]`.
        """
        places: dict[str, Location] = {}
        for path, module in (*model.named_modules(), *_unlisted(model)):
            site = self.of(module)
            parent = path.rpartition(".")[0]
            if site is None and path:
                site = places.get(parent)
            if site is not None:
                places[path] = site
        return places


def _unlisted(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Modules, and what is inside them, that hang in a plain list, tuple or dict of a module of the model."""
    known = {id(module) for module in model.modules()}
    for path, owner in model.named_modules():
        for name, children in held_plainly(owner):
            for key, child in children:
                if id(child) not in known:
                    held = f"{path}.{name}[{key}]" if path else f"{name}[{key}]"
                    yield from ((f"{held}.{inner}" if inner else held, part) for inner, part in child.named_modules())
