"""Notes where a script sets the state of a random generator: torch's, NumPy's, Python's."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any

import torch

from nnlint.finding import Location
from nnlint.frames import location_of
from nnlint.observation.journal import Draft
from nnlint.observation.things import script_frames


def watch_seeds(replace: Callable[..., None], noted: Callable[[str, Any], None]) -> None:
    """Put wrappers around the functions that seed.

    Args:
        replace: `replace(owner, name, make)`, as of `Patches`.
        noted: called with the generator's library and the seed before the original runs.
    """

    def seeding(what: str) -> Callable[[Any], Any]:
        def make(original: Any) -> Any:
            def seed(*args: Any, **kwargs: Any) -> Any:
                noted(what, next(iter((*args, *kwargs.values())), None))
                return original(*args, **kwargs)

            return seed

        return make

    replace(torch, "manual_seed", seeding("torch"))
    replace(torch.random, "manual_seed", seeding("torch"))
    replace(random, "seed", seeding("random"))
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        replace(numpy.random, "seed", seeding("numpy"))


class Askers:
    """Finds the line that asked for a seed: not the one inside a helper such as `set_seed`, but its call.

    That is the line of the innermost function that was running as the seed was set and still is at the next event.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Draft, list[tuple[int, CodeType, Location]]]] = []

    def note(self, draft: Draft) -> None:
        """A seed was set just now."""
        frames = [(id(frame), frame.f_code, location_of(frame.f_code, frame.f_lineno)) for frame in script_frames()]
        self._waiting.append((draft, frames))

    def settle(self) -> None:
        """Another event is about to be noted."""
        if not self._waiting:
            return
        running = {(id(frame), frame.f_code) for frame in script_frames()}
        for draft, frames in self._waiting:
            lines = (line for frame, code, line in frames if (frame, code) in running)
            draft.fields["location"] = next(lines, draft.fields["location"])
        self._waiting.clear()
