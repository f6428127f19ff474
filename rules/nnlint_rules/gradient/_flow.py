"""The gradient from layer to layer, from the loss back to the input."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nnlint_rules._shared.depth import Chain, Depth, is_layer, one_per_module

if TYPE_CHECKING:
    from nnlint import BackwardStats, Evidence, Op


def gradient_chains(backward: BackwardStats) -> list[Chain]:
    """Norms of the gradient with respect to the outputs of layers, from input to output, along the path that carries most.

    The norm over the whole batch, not the root mean square: pooling spreads a gradient over many positions without
    weakening it. Of a layer that is applied several times only the last call counts, so that the decay over the time steps of
    a recurrent net is not taken for one over its depth. Chains with an exactly zero gradient are left out: that is no decay.
    """

    def norm(op: Op) -> float | None:
        gradient = backward.of(op)
        return gradient.norm if gradient is not None and math.isfinite(gradient.norm) else None

    depth = Depth(backward.graph, norm, barriers=("input",))
    ends = [op for op in _ends(backward) if norm(op)]
    chains = []
    for end in ends:
        links = one_per_module(Chain(tuple(depth.links(depth.back_from(end)))).links)
        if len(links) > 1 and all(link.value > 0.0 for link in links):
            chains.append(Chain(links))
    return sorted(chains, key=lambda chain: -len(chain.links))


def _ends(backward: BackwardStats) -> list[Op]:
    """The last layers before the loss (or the outputs): those from which no other layer with a gradient is reached."""
    graph = backward.graph
    layers = {op for op in graph.ops if is_layer(op) and not op.in_loss and backward.of(op) is not None}
    above = graph.above(layers)
    return [op for op in graph.ops if op in layers and op not in above]


def norms_text(chain: Chain) -> str:
    """The norms of the chain, output first, in short; long chains by their ends."""
    values = [f"{link.value:.1e}" for link in reversed(chain.links)]
    return ", ".join(values if len(values) <= 8 else [*values[:4], "...", *values[-3:]])


def chain_evidence(chain: Chain, limit: float) -> dict[str, Evidence]:
    """How the gradient changes along the chain, against the limit of the change as a whole."""
    norms: list[Evidence] = [link.value for link in reversed(chain.links)]
    return {
        "ratio": chain.first.value / chain.last.value,
        "limit": limit,
        "layers": len(chain.links),
        "factor_per_layer": 1.0 / chain.rate,
        "norms_from_the_output": norms,
    }
