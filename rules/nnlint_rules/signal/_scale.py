"""The scale of the signal from layer to layer, where no norm resets it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from nnlint_rules._shared.depth import RESCALING, Chain, Depth
from nnlint_rules._shared.gates import feeds_gate

if TYPE_CHECKING:
    from nnlint import Evidence, ForwardStats, Graph, Op


#: Deviations below this share of the mean are what rounding leaves of equal values (a zero weight under a bias). No calibration:
#: the square root of float32's precision, with a margin.
_ROUNDING = 2e-3


def scale_chains(forward: ForwardStats) -> Iterator[Chain]:
    """Pre-activation stds along layers with no norm between; `inf` where NaN or Inf has been reached.

    Left out are branches that end in a gate (squeeze-excite: they look at pooled values, and their scale is not the
    signal's), and what stands after frozen norms: their statistics come with the weights that are loaded next.
    """

    def std(op: Op) -> float | None:
        layer = forward.of(op)
        if layer is None:
            return None
        if not math.isfinite(layer.std):
            return math.inf
        return layer.std if layer.std > _ROUNDING * abs(layer.mean) else 0.0

    frozen = {op for op in forward.graph.ops if _is_of_frozen_norm(op, forward.graph)}
    chains = Depth(forward.graph, std, barriers=RESCALING).chains()
    yield from (
        chain
        for chain in chains
        if not feeds_gate(chain.last.op)
        and (not frozen or frozen.isdisjoint(forward.graph.ancestors(chain.last.op)))
    )


def _is_of_frozen_norm(op: Op, graph: Graph) -> bool:
    """A channelwise scale or shift that is kept in buffers: a norm whose statistics and weights are frozen.

    Tables of sines and masks have one number for each position, not for each channel, or several axes.
    """
    if not op.is_kind("mul", "div", "add", "sub") or op.shape is None or len(op.shape) < 2:
        return False
    channels = {op.shape[1], op.shape[-1]}
    if not any(_is_vector(source, channels) and _is_of_buffers(source) for source in op.inputs):
        return False
    # Before the first layer it is the data that is normalized.
    return graph.follows(op, "linear-map")


def _is_of_buffers(op: Op) -> bool:
    """Whether a value is computed from buffers alone."""
    seen: set[Op] = set()
    waiting, found = [op], False
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        if current.is_kind("buffer"):
            found = True
        elif current.is_kind("input", "parameter", "unknown", "unregistered-parameter", "factory", "random"):
            return False
        waiting.extend(current.inputs)
    return found


def _is_vector(op: Op, sizes: set[int]) -> bool:
    """Whether it has one number for each channel."""
    long = [length for length in op.shape or () if length > 1]
    return len(long) == 1 and long[0] in sizes


def finite_part(chain: Chain) -> Chain:
    """The chain up to where it first becomes zero or non-finite."""
    links = []
    for link in chain.links:
        if not (math.isfinite(link.value) and link.value > 0.0):
            break
        links.append(link)
    return Chain(tuple(links))


def up_to(chain: Chain, extreme: Callable[[Iterable[float]], float]) -> Chain:
    """The chain up to its smallest (`min`) or largest (`max`) scale.

    After the smallest, biases may have set a floor that hides a decay; after the largest, a small head a growth.
    """
    if not chain.links:
        return chain
    values = [link.value for link in chain.links]
    return Chain(chain.links[: values.index(extreme(values)) + 1])


def scale_evidence(chain: Chain, *, rate: float, total: float) -> dict[str, Evidence]:
    """How the scale changes along the chain, against the limits per layer and of the change as a whole."""
    return {
        "first_std": chain.first.value,
        "last_std": chain.last.value,
        "rate": chain.rate,
        "rate_limit": rate,
        "total": chain.total,
        "total_limit": total,
        "layers": len(chain.links),
    }
