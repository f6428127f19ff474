"""NRM004: a bias that the following norm subtracts again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint.kinds import SHAPE_ONLY
from nnlint_rules._shared.words import listed, paths
from nnlint_rules.normalization._layers import uses_batch_statistics

if TYPE_CHECKING:
    from nnlint import Graph, Op


@rule("NRM004", "redundant-bias", level="info", since="0.1")
def check(graph: Graph) -> Iterator[Finding]:
    """The bias of a layer whose output goes only to a batch or instance norm.

    ## What it does
    Lists linear and convolution layers with a bias all of whose output goes into a batch norm or instance norm that
    subtracts the mean of each channel. A LayerNorm or GroupNorm takes its mean over several channels and does not
    count.

    ## Why is this bad?
    The norm removes any constant of a channel, so the bias has no effect and its gradient is zero up to rounding. It
    costs memory and optimizer state, and weight decay moves it about. Harmless otherwise: the norm has a bias of its
    own.

    ## Example
        nn.Conv2d(64, 128, 3), nn.BatchNorm2d(128)

    ## Use instead
        nn.Conv2d(64, 128, 3, bias=False), nn.BatchNorm2d(128)

    ## References
    - Ioffe and Szegedy: Batch Normalization, 2015, arXiv:1502.03167, section 3.2 (the bias b can be ignored)
    """
    redundant: dict[str, Op] = {}
    needed: set[str] = set()
    for layer in graph.calls("linear-map"):
        bias = _bias_of(layer)
        if bias is None:
            continue
        if _only_normalized(graph, layer, bias):
            redundant.setdefault(bias.name, layer)
        else:
            needed.add(bias.name)  # the same layer is used elsewhere too
    layers = {name: layer for name, layer in redundant.items() if name not in needed}
    if not layers:
        return
    count = sum(_size(_bias_of(layer)) for layer in layers.values())
    yield Finding(
        at=next(iter(layers.values())),
        message=f"the bias has no effect, since the norm after the layer subtracts the mean of each channel: "
        f"{listed(layer.label for layer in layers.values())}",
        evidence={"biases": list(layers), "parameters": count},
        fix="construct the layer with bias=False; the norm has a bias of its own",
        modules=paths(layers.values()),
    )


def _bias_of(layer: Op) -> Op | None:
    """The op of the bias parameter that the layer reads."""
    bias = layer.argument("bias")
    if bias is None or isinstance(bias, bool):
        return None
    return bias if getattr(bias, "is_kind", None) is not None and bias.is_kind("parameter") else None


def _size(bias: Op | None) -> int:
    return bias.shape[0] if bias is not None and bias.shape else 0


def _only_normalized(graph: Graph, layer: Op, bias: Op) -> bool:
    """Whether all of the layer's output goes to norms that remove a constant of each channel."""
    if layer in graph.outputs:
        return False
    users = graph.consumers(layer, through=SHAPE_ONLY)
    return bool(users) and all(uses_batch_statistics(user) and _same_channels(user, bias) for user in users)


def _same_channels(norm: Op, bias: Op) -> bool:
    """A view between may have split or merged channels: then the bias is no constant of the norm's channel."""
    shape = norm.shape
    return shape is None or len(shape) < 2 or bias.shape is None or shape[1] == bias.shape[0]
