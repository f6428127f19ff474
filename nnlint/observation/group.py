"""The process group that a script trains in, and the modules that it wrapped for it."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nnlint.observation.torch_private import children_of

#: Classes that call the module they hold from their own forward, and average or gather around it.
_WRAPPERS = ("DistributedDataParallel", "FullyShardedDataParallel")


@dataclass(frozen=True)
class Group:
    """One rank's view as its first step ended.

    Attributes:
        rank, world, backend: of the default process group.
        wrapped: the modules inside data-parallel wrappers, with the wrapper's class; weakly, so that nothing is kept alive.
    """

    rank: int
    world: int
    backend: str
    wrapped: tuple[tuple[weakref.ref[nn.Module], str], ...]

    @classmethod
    def current(cls) -> Group:
        """Read the default process group, which exists, and look for wrappers among all live modules: once, and without a forward."""
        distributed: Any = torch.distributed
        wrappers = [
            found for found in gc.get_objects() if type(found).__name__ in _WRAPPERS and isinstance(found, nn.Module)
        ]
        wrapped = tuple(
            (weakref.ref(inner), type(wrapper).__name__)
            for wrapper in wrappers
            if isinstance(inner := children_of(vars(wrapper)).get("module"), nn.Module)
        )
        return cls(distributed.get_rank(), distributed.get_world_size(), str(distributed.get_backend()), wrapped)
