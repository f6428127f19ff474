"""INI009: a bias that decides alone whether a unit is on or off."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, rule
from nnlint_rules._shared.words import listed, paths
from nnlint_rules.initialization._stacks import Layer, bias_of, layers

if TYPE_CHECKING:
    from nnlint import ForwardStats, Graph, Op, Parameters, ParameterView


class DominantBias(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#dominant-bias."""

    deviations: float = Field(default=5.0, description="bias over the deviation of the pre-activation without it")
    saturated: float = Field(default=4.0, description="smallest bias before a sigmoid or tanh that closes the unit")


@rule("INI009", "dominant-bias", level="error", since="0.1")
def check(graph: Graph, parameters: Parameters, forward: ForwardStats, options: DominantBias) -> Iterator[Finding]:
    """A hidden layer's bias that is many times larger than everything else in the pre-activation.

    ## What it does
    For every fresh hidden layer with a rectifier, sigmoid or tanh after it, compares the bias with the deviation of
    the pre-activation that the inputs make. Reports a bias beyond five deviations: an error where it holds the units
    off (negative before a rectifier, saturating before a sigmoid or tanh), a warning where it holds a rectifier
    always on. Output layers (detector priors, value heads), recurrent layers (the forget gate) and gates that are
    multiplied are left out, as is a positive bias that torch drew by default.

    ## Why is this bad?
    A ReLU with such a negative bias is zero for every input and gets no gradient: it is dead before the first step.
    With such a positive one it is always on, and the layer is linear. A saturated sigmoid or tanh passes no gradient
    either.

    ## Example
        nn.init.constant_(self.fc1.bias, -10)

    ## Use instead
        nn.init.zeros_(self.fc1.bias)

    ## References
    - Goodfellow, Bengio and Courville: Deep Learning, 2016, section 8.4 (bias initialization)
    """
    parameters.require_fresh()
    found = [
        fixed
        for layer in layers(graph, parameters)
        if (fixed := _fixed(graph, parameters, forward, layer, options)) is not None
    ]
    for off in (True, False):
        same = [fixed for fixed in found if fixed.off is off]
        if not same:
            continue
        first = same[0]
        yield Finding(
            at=first.layer.place,
            level=None if off else Level.WARNING,
            message=f"the bias ({first.bias.mean:.3g}) is {first.deviations:.3g} times the deviation of what the inputs "
            f"add to it ({first.spread:.3g}; limit {options.deviations:g}x): {first.what}"
            + (f"; likewise {listed(fixed.layer.op.label for fixed in same[1:])}" if len(same) > 1 else ""),
            evidence={
                "bias": {fixed.bias.name: fixed.bias.mean for fixed in same},
                "deviations": {
                    fixed.bias.name: fixed.deviations if math.isfinite(fixed.deviations) else None for fixed in same
                },
                "limit": options.deviations,
            },
            fix="initialize the bias with zeros: nn.init.zeros_(layer.bias)",
            modules=paths(op for fixed in same for op in (fixed.layer.op, fixed.activation, *_behind(graph, fixed))),
        )


@dataclass(frozen=True)
class _Fixed:
    """A layer whose bias decides; `spread` is the deviation of the pre-activation without the bias."""

    layer: Layer
    activation: Op
    bias: ParameterView
    spread: float
    off: bool

    @property
    def deviations(self) -> float:
        return abs(self.bias.mean) / self.spread if self.spread > 0.0 else math.inf

    @property
    def what(self) -> str:
        if self.activation.is_kind("saturating"):
            return f"{self.activation.label} is saturated for every input"
        return f"{self.activation.label} is {'zero' if self.off else 'the identity'} for every input"


def _behind(graph: Graph, fixed: _Fixed) -> list[Op]:
    """The layers that get the constant units, in execution order: what is seen of the fault is seen there."""
    below = (op for op in graph.descendants(fixed.activation) if op.is_kind("linear-map"))
    return sorted(below, key=lambda op: op.index)


def _fixed(
    graph: Graph, parameters: Parameters, forward: ForwardStats, layer: Layer, options: DominantBias
) -> _Fixed | None:
    activation, stats, bias = layer.activation, forward.of(layer.op), bias_of(layer, parameters)
    if activation is None or bias is None or stats is None or not stats.finite or not bias.finite:
        return None
    if not activation.is_kind("rectifier", "saturating") or not graph.precedes(activation, "linear-map") or _is_gate(graph, activation):
        return None
    # The output's deviation holds that of the biases among each other as well.
    spread = math.sqrt(max(stats.std**2 - bias.std**2, 0.0))
    weakest = abs(bias.mean) - 2.0 * bias.std
    if weakest <= options.deviations * spread:
        return None
    if activation.is_kind("saturating"):
        return _Fixed(layer, activation, bias, spread, off=True) if weakest > options.saturated else None
    # Torch's own draw is small: what it outweighs is an input that is smaller still, and one such unit among others is on by chance.
    if bias.mean > 0.0 and (bias.numel == 1 or not bias.constant) and bias.abs_max <= (bias.default_bound or 0.0):
        return None
    if bias.mean > 0.0 and (stats.mean - 2.0 * bias.std <= options.deviations * spread or activation.name == "relu6"):
        return None
    return _Fixed(layer, activation, bias, spread, off=bias.mean < 0.0)


def _is_gate(graph: Graph, activation: Op) -> bool:
    """Whether the activation is multiplied into something: a gate may be meant to be closed at the start."""
    return any(user.is_kind("mul") for user in graph.consumers(activation))
