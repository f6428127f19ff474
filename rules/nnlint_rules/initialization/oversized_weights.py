"""INI003: weights many times larger than their layer can bear."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, rule
from nnlint_rules._shared.library import initialized_by_library
from nnlint_rules._shared.words import listed
from nnlint_rules.initialization._stacks import Layer, covered, input_rms, layers

if TYPE_CHECKING:
    from nnlint import ForwardStats, Graph, Parameters


#: Outputs up to this root mean square are what any activation expects.
_ORDINARY = 3.0


class OversizedWeights(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#weight-scale."""

    times_he: float = Field(default=10.0, description="smallest weight scale that is reported, in He deviations")
    growth: float = Field(default=10.0, description="growth of the activations through the layer that must go with it")


@rule("INI003", "oversized-weights", level="error", since="0.1")
def check(graph: Graph, parameters: Parameters, forward: ForwardStats, options: OversizedWeights) -> Iterator[Finding]:
    """Weights ten times the He scale or more, with activations that grow through the layer.

    ## What it does
    Compares the deviation (or the mean, for weights of one sign) of every fresh linear or convolution weight with He
    initialization, sqrt(2 / fan_in), and measures how much the values grow through the layer. Reports a layer where
    both exceed a factor of ten. Embeddings, layers whose output stays small (one-hot inputs) and layers that a norm
    follows are left out. A warning where a model library built the layers: weights are usually loaded next.

    ## Why is this bad?
    Every such layer multiplies the signal, and the gradient on its way back, by ten or more. Three of them make a
    thousand: saturated activations, a loss far above that of a guess, and a first update that throws the weights
    about.

    ## Example
        nn.init.normal_(self.fc.weight)          # std 1 for 512 inputs: 16 times He

    ## Use instead
        nn.init.kaiming_normal_(self.fc.weight, nonlinearity="relu")

    ## References
    - He et al.: Delving Deep into Rectifiers, 2015, arXiv:1502.01852
    """
    parameters.require_fresh()
    found = []
    for layer in layers(graph, parameters):
        scale, growth = _scale(layer), _growth(layer, forward)
        if (
            scale >= options.times_he
            and growth is not None
            and growth > options.growth
            and not _is_normalized(graph, layer)
        ):
            found.append((layer, scale, growth))
    if not found:
        return
    layer, scale, growth = found[0]
    yield Finding(
        at=layer.place,
        level=Level.WARNING if all(initialized_by_library(other.op, graph) for other, _, _ in found) else None,
        message=f"the weights are {scale:.3g}x the He scale (limit {options.times_he:g}x) and the values grow {growth:.3g}x "
        "through the layer"
        + (f"; likewise {listed(other.op.label for other, _, _ in found[1:])}" if len(found) > 1 else ""),
        evidence={
            "times_he": {other.weight.name: times for other, times, _ in found},
            "limit": options.times_he,
            "growth": {other.weight.name: times if math.isfinite(times) else None for other, _, times in found},
            "growth_limit": options.growth,
        },
        fix=f"nn.init.kaiming_normal_(layer.weight), a deviation of {math.sqrt(2 / layer.fan_in):.3g} here "
        f"instead of {layer.weight.std:.3g}",
        modules=covered(other for other, _, _ in found),
    )


def _scale(layer: Layer) -> float:
    """In He deviations; weights of one sign add up with their mean instead of its square root."""
    if layer.weight.constant or not layer.weight.finite:
        return 0.0  # other rules' cases
    return max(layer.gain, abs(layer.weight.mean) * layer.fan_in) / math.sqrt(2.0)


def _growth(layer: Layer, forward: ForwardStats) -> float | None:
    """Output over input, both as root mean square; of the first layer, whose input is not measured, against 1."""
    stats = forward.of(layer.op)
    if stats is None:
        return None
    if not stats.finite:
        return math.inf
    # One-hot inputs have a small root mean square and pick one row of weights: what comes out is not large.
    if stats.rms < _ORDINARY:
        return None
    return stats.rms / (input_rms(forward, layer.op) or 1.0)


def _is_normalized(graph: Graph, layer: Layer) -> bool:
    users = graph.consumers(layer.op)
    return bool(users) and all(user.is_kind("norm") for user in users)
