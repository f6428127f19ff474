"""What surrounds each call of the user's model and loss: their default device, and a look at indices before a CUDA kernel sees them.

Outside of these calls there is no default device: after `torch.set_default_device("cuda")` every tensor that nnlint makes for itself
would lie there, beside those that it keeps on the CPU, and refuse the CPU's generators.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

from nnlint.capture.bounds import within_bounds
from nnlint.capture.torch_private import default_device
from nnlint.tensors import tensors_in

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
def users_code(*given: Any) -> Iterator[None]:
    """Inside the block, which calls the user's code on these values, tensors are made where that code expects them.

    On a CUDA device calls raise where their kernels would assert: probes try other batches than the user's own.
    """
    found, before = _USERS.get(), default_device()
    if found is not None:
        torch.set_default_device(found)
    try:
        with within_bounds(tensors_in(given)):
            yield
    finally:
        if found is not None:
            torch.set_default_device(before)
