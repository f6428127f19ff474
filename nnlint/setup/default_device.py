"""The default device is the user's: their code runs with it, and nnlint's own tensors are made on the CPU.

A script that calls `torch.set_default_device("cuda")` would put every tensor there that nnlint makes for itself, beside those that it
keeps on the CPU, and refuse generators of the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from nnlint.capture.torch_private import default_device

_USERS: ContextVar[torch.device | None] = ContextVar("the default device of the user's code", default=None)


@contextmanager
def own_default_device() -> Iterator[None]:
    """Inside the block tensors are made on the CPU unless their device is given; afterwards where the user wants them."""
    found = default_device()
    if found is None or found.type == "cpu":
        yield
        return
    token = _USERS.set(found)
    torch.set_default_device(None)
    try:
        yield
    finally:
        torch.set_default_device(found)
        _USERS.reset(token)


@contextmanager
def users_default_device() -> Iterator[None]:
    """Inside the block, which runs the user's code, tensors are made where the user's code expects them."""
    found = _USERS.get()
    if found is None:
        yield
        return
    before = default_device()
    torch.set_default_device(found)
    try:
        yield
    finally:
        torch.set_default_device(before)
