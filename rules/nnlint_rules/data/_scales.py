"""What the values of an input look like: stored pixels, normal noise, and routes that a norm scales."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nnlint_rules.data._inputs import Route

if TYPE_CHECKING:
    from nnlint import BatchTensor, Graph


#: Channels that pictures have: grey, colour, colour with opacity.
_CHANNELS = (1, 3, 4)
#: Resized pictures have fractions; that they reach white tells them from other numbers below 255.
_NEARLY_WHITE = 250.0
#: Standard errors within which mean, deviation and kurtosis are those of normal noise (docs/evidence/calibration.md#input-scale).
_ERRORS = 4.0


def is_normal_noise(tensor: BatchTensor) -> bool:
    """Whether the values are those of `torch.randn`: made up where data will be, and not normalized by anybody."""
    values, count = tensor.values, tensor.values.numel()
    kurtosis = float(((values - values.mean()) / values.std()).pow(4).mean())
    return (
        abs(tensor.mean) < _ERRORS / math.sqrt(count)
        and abs(tensor.std - 1.0) < _ERRORS / math.sqrt(2 * count)
        and abs(kurtosis - 3.0) < _ERRORS * math.sqrt(24 / count)
    )


def is_normalized(route: Route, graph: Graph) -> bool:
    """Whether each sample's scale and offset are taken away right after the first layer."""
    return all(
        bool(after := graph.consumers(layer)) and all(op.is_kind("instance-norm") for op in after)
        for layer in route.layers
    )


def raw_pixels(route: Route) -> tuple[str, str] | None:
    """Images as they are stored: colour or grey channels that go into a convolution, in whole numbers or over the full range."""
    tensor = route.tensor
    shape = tensor.shape
    images = len(shape) >= 4 and (shape[1] in _CHANNELS or shape[-1] in _CHANNELS)
    if not images or tensor.min < 0.0 or not 128.0 < tensor.max <= 255.0:
        return None
    if tensor.max < _NEARLY_WHITE and not bool((tensor.values == tensor.values.round()).all()):
        return None
    return "has values from 0 to 255", "divide by 255 (torchvision's ToTensor does), then standardize"
