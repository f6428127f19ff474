"""The numbers in tensors of every kind: sparse, nested, quantized, wrapped by a library."""

from __future__ import annotations

from typing import Any

import torch

from nnlint.capture.torch_private import is_transformed, is_wrapper, without_subclasses

#: Entries up to which a sparse tensor is filled up.
_FILLED_UP = 1 << 24


def plain(tensor: torch.Tensor) -> torch.Tensor | None:
    """The values as an ordinary tensor of the same shape, detached; None where there are none or they have no one shape.

    A sparse tensor is filled up with zeros, a wrapper subclass gives what it wraps.
    """
    if tensor.is_nested or tensor.is_meta or is_transformed(tensor):
        return None
    with torch.no_grad(), without_subclasses():
        value: Any = tensor.detach()
        if is_wrapper(value):
            return _unwrapped(value)
        try:
            if value.is_quantized:
                value = value.dequantize()
            if value.layout is not torch.strided:
                value = value.to_dense() if value.numel() <= _FILLED_UP else value.to_sparse().values()
        except (RuntimeError, NotImplementedError):
            return None
        made: torch.Tensor = value if type(value) is torch.Tensor else value.as_subclass(torch.Tensor)
        return made


def _unwrapped(wrapper: Any) -> torch.Tensor | None:
    """What a wrapper subclass holds in the same shape: the one tensor it wraps, or what its own code makes of it."""
    inner = [getattr(wrapper, name) for name in wrapper.__tensor_flatten__()[0]]
    if len(inner) == 1 and inner[0].shape == wrapper.shape and inner[0].dtype == wrapper.dtype:
        return plain(inner[0])
    try:
        value = wrapper.dequantize()
    except Exception:  # the library's own code
        return None
    return value if type(value) is torch.Tensor and value.shape == wrapper.shape else None


def stored(tensor: torch.Tensor) -> torch.Tensor | None:
    """All numbers that a tensor holds, in any shape, detached: those of the parts of a nested one, the entries of a sparse one."""
    if tensor.is_nested:
        return tensor.detach().values()
    if tensor.layout is torch.sparse_coo:
        return tensor.detach().coalesce().values()
    return plain(tensor)
