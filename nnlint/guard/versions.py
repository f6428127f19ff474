"""How often torch counted a write to a tensor: private access, in one place."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor


def set_versions(tensors: list[Tensor], versions: list[int]) -> None:
    """Set how often torch counted a write to each tensor."""
    if not tensors:
        return
    write = torch._C._autograd._unsafe_set_version_counter
    try:
        write(tuple(tensors), tuple(versions))
    except TypeError:  # torch before 2.7 takes one tensor at a time
        for tensor, version in zip(tensors, versions, strict=True):
            cast(Any, write)(tensor, version)
