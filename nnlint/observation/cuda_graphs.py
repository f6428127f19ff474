"""Whether the script records a CUDA graph at the moment: until the recording ends, nothing may be read from the device."""

from __future__ import annotations

import torch


def is_capturing() -> bool:
    """Whether the current CUDA stream is being captured; False where CUDA was never used."""
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()
