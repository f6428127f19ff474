"""Where a script computes small tensors beside its model, without a graph: from numbers, from stored values."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from nnlint.finding import Location
from nnlint.observation.things import script_line
from nnlint.tensors import tensors_in

#: Tensors whose lines are remembered, and the entries of one.
_REMEMBERED = 512
_ENTRIES = 4096


@dataclass
class Origins:
    """The lines of the newest such tensors."""

    _lines: dict[int, tuple[weakref.ref[Tensor], Location | None]] = field(default_factory=dict)

    def note(self, result: Any, args: Any) -> None:
        """A torch function that has nothing to do with the model's values was called."""
        if not isinstance(result, Tensor) or result.requires_grad or result.numel() > _ENTRIES:
            return
        known = next((line for tensor in tensors_in(args) if (line := self.line_of(tensor)) is not None), None)
        if known is None and result.numel() != 1:
            return
        if len(self._lines) >= _REMEMBERED:
            self._lines.pop(next(iter(self._lines)))
        self._lines[id(result)] = weakref.ref(result), known or script_line()

    def line_of(self, tensor: Tensor) -> Location | None:
        """Where it, or the first of what it was computed from, was computed."""
        reference, line = self._lines.get(id(tensor), (None, None))
        return line if reference is not None and reference() is tensor else None
