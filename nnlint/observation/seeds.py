"""Notes where a script sets the state of a random generator: torch's, NumPy's, Python's."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any

import torch


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
