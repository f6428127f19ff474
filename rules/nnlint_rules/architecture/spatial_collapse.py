"""ARC014: kernels that read padding."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, Skip, rule
from nnlint_rules._shared.words import listed
from nnlint_rules.architecture._windows import Window, window_of

if TYPE_CHECKING:
    from nnlint import Graph, Op


class SpatialCollapse(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#architecture."""

    dead: float = Field(
        default=0.5, description="share of a kernel's weights that only ever meet padding, above which it is reported"
    )
    share: float = Field(
        default=0.05, description="share of all weights of the model that only meet padding, below which it is an info"
    )


@rule("ARC014", "spatial-collapse", level="warning", since="0.1")
def check(graph: Graph, options: SpatialCollapse) -> Iterator[Finding]:
    """Convolutions whose kernels are larger than the feature map that reaches them.

    ## What it does
    Computes for every convolution which weights of its kernel ever meet the input and not only its padding, for the input given,
    and reports the layers where more than half of them never do. It is an info where these weights are less than 5 % of the
    model's (the depthwise kernels of a net of 1 x 1 convolutions) and for convolutions over sequences, whose length varies,
    and where a single output reads the whole map, as at the bottom of a U-Net.
    A layer called on several maps is judged on the largest. Adaptive and global pooling are no such layers.

    ## Why is this bad?
    The input is too small for the number of poolings and strides: the last stages see one or two positions, most of their
    weights multiply zeros and get no gradient, and the layers are 1 x 1 convolutions at the price of 3 x 3.

    ## Example
        torchvision.models.resnet18()(images_of_32_by_32)         # the last stage works on 1 x 1 maps

    ## Use instead
        model.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False); model.maxpool = nn.Identity()

    ## References
    - He et al., 2016, arXiv:1512.03385, section 4.2: ResNets for 32 x 32 images
    """
    if graph.method == "symbolic":
        raise Skip("needs shapes, but the model did not run")
    best: dict[tuple[str, ...], tuple[Op, Window, float]] = {}
    for op in graph.calls("conv"):
        window = None if op.is_kind("conv-transpose") or op.in_loss else window_of(op)
        if window is None:
            continue
        # A head shared by all levels of a pyramid learns its whole kernel on the largest of them.
        key = op.parameters or (op.label,)
        if key not in best or _dead_share(window) < best[key][2]:
            best[key] = (op, window, _dead_share(window))
    found = [seen for seen in best.values() if seen[2] > options.dead]
    if found:
        yield _finding(found, graph, options)


def _dead_share(window: Window) -> float:
    live = math.prod(window.live_taps(axis) for axis in range(len(window.kernel)))
    return 1.0 - live / math.prod(window.kernel)


def _reads_the_whole_map(window: Window) -> bool:
    """Whether one output is made of all positions there are: the last step down of an encoder, where nothing collapsed before."""
    return math.prod(window.outputs) == 1 and min(window.inputs) > 1


def _lost_share(found: list[tuple[Op, Window, float]], graph: Graph) -> float:
    """Share of all weights of linear layers and convolutions that only meet padding."""
    weights = {op.parameters: _numel(op) for op in graph.calls("linear-map") if op.parameters}
    lost = {op.parameters: dead * _numel(op) for op, _, dead in found}
    return sum(lost.values()) / max(sum(weights.values()), 1)


def _numel(op: Op) -> int:
    return math.prod(getattr(op.argument("weight"), "shape", None) or (0,))


def _finding(found: list[tuple[Op, Window, float]], graph: Graph, options: SpatialCollapse) -> Finding:
    op, window, dead = found[0]
    names = list(dict.fromkeys(layer.module_path or layer.label for layer, _, _ in found))
    size, kernel = " x ".join(map(str, window.inputs)), " x ".join(map(str, window.kernel))
    more = f" ({len(found)} layers in all: {listed(names)})" if len(found) > 1 else ""
    lost = _lost_share(found, graph)
    # A sequence is as long as the batch has it: a wide kernel on a short one is no fault of the net.
    weak = graph.facts.inputs_assumed or len(window.kernel) == 1 or lost < options.share
    weak = weak or all(_reads_the_whole_map(other) for _, other, _ in found)
    return Finding(
        at=op,
        message=f"{op.label} has a kernel of {kernel} on a map of {size}: {dead:.0%} of its weights only meet padding "
        f"(limit {options.dead:.0%}){more}, {lost:.0%} of the model's weights in all",
        evidence={
            "map": list(window.inputs),
            "kernel": list(window.kernel),
            "dead_share": dead,
            "layers": len(found),
            "lost_share": lost,
            "limit": options.dead,
        },
        fix="larger inputs, or fewer strides and poolings before this layer",
        level=Level.INFO if weak else None,
        modules=tuple(names),
    )
