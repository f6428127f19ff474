"""What torch does not promise and nnlint reads all the same: each access is a function with a fallback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def queued_cuda_seedings() -> Callable[[], None]:
    """Remember the seedings that wait for CUDA to be initialized; the function returned puts them back.

    `torch.manual_seed` queues one, which would outlive the check. Without torch's queue nothing is put back.
    """
    tracker: Any = getattr(torch.cuda, "_lazy_seed_tracker", None)
    if tracker is None or torch.cuda.is_initialized():
        return lambda: None
    before = {name: list(value) if isinstance(value, list) else value for name, value in vars(tracker).items()}

    def restore() -> None:
        if not torch.cuda.is_initialized():  # an initialization has taken the queue and applied it
            vars(tracker).update(before)

    return restore
