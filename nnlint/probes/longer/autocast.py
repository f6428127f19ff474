"""What torch.autocast does on a GPU, done by hand on a CPU.

The two differ: on a CPU softmax, layer norm, exp, pow and sum keep half precision, where a GPU computes them in float32, and some
operations have no half-precision kernel at all. A finding about mixed precision has to be true where people use it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from nnlint import kinds
from nnlint.tensors import map_tensors

#: Operations that autocast runs in the lower precision (PyTorch, Automatic Mixed Precision package, autocast op reference).
_LOWER = frozenset(
    {"matmul", "mm", "bmm", "mv", "addmm", "addbmm", "addmv", "addr", "baddbmm", "chain_matmul", "multi_dot", "einsum"}
    | {"linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "prelu"}
    | {"gru_cell", "lstm_cell", "rnn_tanh_cell", "rnn_relu_cell", "lstm", "gru", "rnn_tanh", "rnn_relu"}
    | {"scaled_dot_product_attention", "multi_head_attention_forward"}
)
#: Operations that it runs in float32, and whose result stays so.
_FULL = frozenset(
    {
        "pow",
        "rdiv",
        "rpow",
        "acos",
        "asin",
        "cosh",
        "sinh",
        "tan",
        "cdist",
        "pdist",
        "dist",
        "cumprod",
        "cumsum",
        "erfinv",
    }
    | {
        "exp",
        "expm1",
        "log",
        "log10",
        "log1p",
        "log2",
        "reciprocal",
        "rsqrt",
        "prod",
        "sum",
        "norm",
        "renorm",
        "normalize",
    }
    | {"group_norm", "layer_norm", "rms_norm", "softmax", "log_softmax", "softmin", "softplus", "cosine_similarity"}
)
#: Accumulates in float32 inside one kernel and rounds once: half precision on a CPU would lose more.
_ROUNDED = frozenset(
    {"batch_norm", "instance_norm", "mean", "var", "std", "avg_pool2d", "adaptive_avg_pool2d", "interpolate"}
)
#: How a kernel that this CPU does not have says so.
_MISSING = ("not implemented for", "could not create a primitive", "not supported", "unsupported", "mkldnn", "onednn")
_UNSAFE = (
    "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast (torch refuses them on a GPU): "
    "use binary_cross_entropy_with_logits"
)


class GpuAutocast(TorchFunctionMode):
    """Gives each operation the precision that autocast would give it on a GPU, while autocast is on.

    Args:
        dtype: the lower precision.
        refuses: whether `binary_cross_entropy` raises, as it does on a GPU.
    """

    def __init__(self, dtype: torch.dtype, *, refuses: bool) -> None:
        super().__init__()
        self._dtype = dtype
        self.refuses = refuses

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the call in the precision of its kind."""
        kwargs = kwargs or {}
        given = getattr(func, "__name__", "")
        name = kinds.canonical(given)
        if not torch.is_autocast_enabled("cuda"):
            with _off():  # a region that switches the GPU's autocast off
                return func(*args, **kwargs)
        in_place = given.endswith("_") and not given.startswith("__")
        if not torch.is_autocast_enabled("cpu") or in_place or "out" in kwargs:
            return func(*args, **kwargs)
        if name == "binary_cross_entropy" and self.refuses:
            raise RuntimeError(_UNSAFE)
        if name in _LOWER:
            return self._rounded(func, args, kwargs, around=self._round)
        if name in _FULL or "loss" in kinds.info(name).kinds:
            with _off():
                return func(*map_tensors(_widen, args), **map_tensors(_widen, kwargs))
        if name in _ROUNDED:
            return self._rounded(func, args, kwargs, around=_widen) if self._has_lower(args) else func(*args, **kwargs)
        try:
            return func(*args, **kwargs)
        except (RuntimeError, NotImplementedError) as error:
            if not any(part in str(error).lower() for part in _MISSING):
                raise
            return self._rounded(func, args, kwargs, around=_widen)

    def _rounded(self, func: Any, args: Any, kwargs: Any, *, around: Any) -> Any:
        """Computed in float32, as a GPU accumulates, and rounded once."""
        with _off():
            result = func(*map_tensors(around, args), **map_tensors(around, kwargs))
            return map_tensors(
                lambda tensor: tensor.to(self._dtype) if tensor.dtype == torch.float32 else tensor, result
            )

    def _round(self, tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_floating_point() or tensor.dtype == torch.float64:
            return tensor
        return tensor.to(self._dtype).float()

    def _has_lower(self, args: Any) -> bool:
        return any(isinstance(value, torch.Tensor) and value.dtype == self._dtype for value in args)


def _widen(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


@contextmanager
def _off() -> Iterator[None]:
    with torch.autocast("cpu", enabled=False):
        yield


@contextmanager
def lowered(dtype: torch.dtype, device: str, *, refuses: bool = False) -> Iterator[None]:
    """Run what is inside as mixed precision runs on a GPU; on a GPU this is autocast itself.

    Args:
        dtype: float16 or bfloat16.
        device: the type of the device that the model is on.
        refuses: raise for `binary_cross_entropy`.
    """
    if device != "cpu":
        with torch.autocast(device, dtype=dtype):
            yield
        return
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)  # noqa: FBT003 - torch takes it by position only
    torch.set_autocast_dtype("cuda", dtype)
    try:
        with torch.autocast("cpu", dtype=dtype), GpuAutocast(dtype, refuses=refuses):
            yield
    finally:
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])
