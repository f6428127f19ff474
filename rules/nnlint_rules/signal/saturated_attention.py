"""SIG009: attention that picks a single key at initialization."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Options, rule

if TYPE_CHECKING:
    from nnlint import ForwardStats, Graph, Op, Parameters


class SaturatedAttention(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#independence."""

    peak: float = Field(0.9, description="largest accepted mean of the largest attention probability")
    unscaled_peak: float = Field(0.7, description="the same where the scores are not scaled")


@rule("SIG009", "saturated-attention", level="warning", since="0.1")
def check(
    graph: Graph, forward: ForwardStats, parameters: Parameters, options: SaturatedAttention
) -> Iterator[Finding]:
    """Attention probabilities that are nearly one-hot before any training.

    ## What it does
    Measures, for every softmax between two matrix products and every fused attention, the largest probability of each
    query with at least 8 keys to look at, and reports a mean above 0.9, or above 0.7 where nothing scales the scores: no
    factor, and no norm of queries and keys, whose weights learn their scale. Only for freshly initialized weights: a
    trained head may well have learned to pick one key.

    ## Why is this bad?
    The product of two vectors of d unit-variance entries has standard deviation sqrt(d). Without the factor 1/sqrt(d) the
    softmax picks the largest score, whichever that is at random, and its gradient vanishes: the layer cannot learn to look
    elsewhere.

    ## Example
        att = (q @ k.transpose(-2, -1)).softmax(-1)

    ## Use instead
        att = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(-1)
        y = F.scaled_dot_product_attention(q, k, v)

    ## References
    - Vaswani et al.: Attention Is All You Need, 2017, arXiv:1706.03762, section 3.2.1
    """
    measured = [layer for layer in forward.layers if layer.peak is not None and _mixes_values(graph, layer.op)]
    found = [layer for layer in measured if (layer.peak or 0.0) > _limit(graph, layer.op, options)]
    if not measured:
        return
    parameters.require_fresh()
    if not found:
        return
    worst = max(found, key=lambda layer: layer.peak or 0.0)
    others = "" if len(found) == 1 else f" ({len(found)} of {len(measured)} attention layers are affected)"
    unscaled, limit = _is_unscaled(graph, worst.op), _limit(graph, worst.op, options)
    yield Finding(
        at=worst,
        message=f"{worst.label} gives {worst.peak:.2f} of the attention to a single key on average (limit {limit:g}) "
        "before any training" + ("; its scores are not divided by sqrt(d)" if unscaled else "") + others,
        evidence={"peak": worst.peak, "limit": limit, "layers": {layer.label: layer.peak for layer in found}},
        fix="divide the scores by the square root of the head width before the softmax"
        if unscaled
        else "bring the scale of queries and keys down: their weights, what they are given, or the scale argument",
        modules=tuple(dict.fromkeys(layer.module_path for layer in found)),
    )


def _limit(graph: Graph, op: Op, options: SaturatedAttention) -> float:
    return options.unscaled_peak if _is_unscaled(graph, op) else options.peak


def _mixes_values(graph: Graph, op: Op) -> bool:
    """Whether the probabilities weight values: a gate, a router or a classifier's head does not count."""
    if op.is_kind("attention"):
        return True
    return _scores(graph, op).is_kind("matmul") and any(user.is_kind("matmul") for user in graph.consumers(op))


def _scores(graph: Graph, op: Op) -> Op:
    return graph.producer(op, through=("softmax", "view", "identity", "cast", "mul", "div", "add", "merge", "dropout"))


def _is_unscaled(graph: Graph, op: Op) -> bool:
    """Whether nothing but shapes and masks stands between the product and the softmax."""
    if op.is_kind("attention"):
        scale = op.argument("scale")
        return isinstance(scale, (int, float)) and scale >= 1.0 and not _are_normalized(op.activations[:2])
    above = graph.producer(op, through=("softmax", "view", "identity", "cast", "add", "merge", "dropout"))
    if not above.is_kind("matmul") or any(_is_scaled(source) for source in above.activations):
        return False
    return not _are_normalized(above.activations[:2])


def _are_normalized(sources: Iterable[Op]) -> bool:
    """Whether queries and keys come from norms of their own (QK-norm), rotary positions between."""
    return all(_is_normalized(source) for source in sources)


def _is_normalized(op: Op) -> bool:
    while op.is_kind("view", "identity", "cast", "mul", "div", "add", "merge", "concat") and op.activations:
        if op.is_kind("mul", "div") and any(_is_a_size(factor) for factor in op.activations[1:]):
            return True
        # A cache of keys begins with an empty tensor.
        op = next((above for above in op.activations if not above.is_kind("factory")), op.activations[0])
    return op.is_kind("norm")


def _is_a_size(op: Op) -> bool:
    """Whether a factor comes from a mean or a sum: the norm is written out, as the root mean square of most decoders is."""
    while op.is_kind("elementwise", "cast") and op.activations:
        op = op.activations[0]
    return op.is_kind("reduce")


def _is_scaled(op: Op) -> bool:
    """Whether a query or key was scaled before the product."""
    while op.is_kind("view", "identity", "cast") and op.activations:
        op = op.activations[0]
    return op.is_kind("mul", "div")
