"""Kernels, strides and paddings of convolutions and poolings, as called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint import Op


@dataclass(frozen=True)
class Window:
    """How a convolution or pooling reads its input, axis by axis.

    Attributes:
        inputs: size of the input along each spatial axis, without padding.
        outputs: size of the output.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def live_taps(self, axis: int) -> int:
        """Taps of the kernel that meet input, not padding, in at least one window."""
        starts = [window * self.stride[axis] - self.padding[axis] for window in range(self.outputs[axis])]
        offsets = [tap * self.dilation[axis] for tap in range(self.kernel[axis])]
        return sum(any(0 <= start + offset < self.inputs[axis] for start in starts) for offset in offsets)


def window_of(op: Op) -> Window | None:
    """The window of a convolution or pooling; None where it adapts to its input or a size is unknown."""
    source = op.activations[0].shape if op.activations else None
    if source is None or op.shape is None or op.is_kind("adaptive-pool"):
        return None
    kernel = _kernel(op)
    if not kernel:
        return None
    axes = len(kernel)
    stride = _each(op.argument("stride"), axes) or (kernel if op.is_kind("pool") else (1,) * axes)
    dilation = _each(op.argument("dilation"), axes) or (1,) * axes
    if len(source) < axes + 1 or len(op.shape) < axes:
        return None
    padding = _padding(op.argument("padding"), kernel, dilation)
    return Window(kernel, stride, padding, dilation, tuple(source[-axes:]), tuple(op.shape[-axes:]))


def _kernel(op: Op) -> tuple[int, ...] | None:
    if op.is_kind("conv"):
        shape = getattr(op.argument("weight"), "shape", None)
        return tuple(shape[2:]) if shape else None
    axes = next((int(digit) for digit in "123" if f"pool{digit}d" in op.name), None)
    return _each(op.argument("kernel_size"), axes) if axes else None


def _padding(value: object, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    if value == "same":
        return tuple(rate * (extent - 1) // 2 for extent, rate in zip(kernel, dilation, strict=True))
    return _each(value, len(kernel)) or (0,) * len(kernel)


def _each(value: object, axes: int) -> tuple[int, ...] | None:
    """One number for each axis, from one number or a tuple of them."""
    if isinstance(value, int):
        return (value,) * axes
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, int) for item in value):
        return tuple(value) if len(value) == axes else tuple(value[:1]) * axes
    return None
