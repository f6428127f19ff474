"""DAT009: images with their channels in the last dimension."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint_rules.data._inputs import Route, routes

if TYPE_CHECKING:
    from nnlint import Batch, Graph

_CHANNELS = (1, 2, 3, 4)
_SMALLEST_IMAGE = 8


@rule("DAT009", "channels-last-input", level="warning", since="0.1")
def check(batch: Batch, graph: Graph) -> Iterator[Finding]:
    """Images of shape (N, H, W, C) go into a convolution that takes (N, C, H, W).

    ## What it does
    Reports inputs of four dimensions whose last one is 1 to 4 and whose second and third are 8 or more, when they reach a
    convolution without a permute. A net that flattens them, or a linear layer over the last dimension, does not mind.

    ## Why is this bad?
    The convolution takes the rows of the image for channels and slides over its columns and colours. Where its in_channels
    happens to fit (a lazy layer, or in_channels taken from shape[1]) nothing complains.

    ## Example
        images = torch.from_numpy(array)                  # (N, 64, 64, 3)
        net = nn.Conv2d(images.shape[1], 32, 3)

    ## Use instead
        images = torch.from_numpy(array).permute(0, 3, 1, 2)
        net = nn.Conv2d(3, 32, 3)

    ## References
    - PyTorch: `torch.nn.Conv2d` (shape of the input); Channels last memory format (strides, not the order of dimensions)
    """
    batch.require_real()
    for route in routes(batch, graph):
        shape = route.tensor.shape
        convolution = next((op for op in route.layers if op.is_kind("conv")), None)
        if convolution is None or not _looks_channels_last(shape) or _is_reordered(route):
            continue
        yield Finding(
            at=convolution,
            message=f"{route.tensor.name} has shape {shape}, which looks like (N, H, W, C), and {convolution.label} reads "
            f"dimension 1, of size {shape[1]}, as the channels",
            evidence={"input": route.tensor.name, "shape": list(shape)},
            fix=f"permute(0, 3, 1, 2) the images where they are read, and set in_channels={shape[3]}",
        )


def _looks_channels_last(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[3] in _CHANNELS and min(shape[1], shape[2]) >= _SMALLEST_IMAGE


def _is_reordered(route: Route) -> bool:
    """Whether a view on the way may have put the channels in their place."""
    return any(op.is_kind("view") for op in route.passed)
