"""The scale that the activation after a layer asks of its weights, and how the signal goes along a stack of layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlint_rules.initialization._stacks import Layer, sample_signal

if TYPE_CHECKING:
    from nnlint import ForwardStats


def target_of(layer: Layer) -> float | None:
    """Deviation that the activation after the layer asks for; None where there is no such figure."""
    activation = layer.activation
    if activation is None or layer.weight.constant or not layer.weight.finite or layer.weight.fan_out is None:
        return None
    if activation.is_kind("rectifier", "leaky", "smooth-rectifier", "elu"):
        return math.sqrt(2.0 / layer.fan_in)
    if activation.is_kind("saturating"):
        return math.sqrt(2.0 / (layer.fan_in + layer.weight.fan_out))
    return None


def scale_of(layer: Layer) -> float:
    """The deviation of the weights over the one that the activation asks for; 0 without a figure."""
    return layer.weight.std / (target_of(layer) or math.inf)


def distance_to_usual(layer: Layer) -> float:
    """How far the deviation is from the nearest usual one: fan-in or fan-out, Glorot with or without the tanh gain."""
    fan_out = layer.weight.fan_out or layer.fan_in
    glorot = math.sqrt(2.0 / (layer.fan_in + fan_out))
    targets = [
        math.sqrt(2.0 / layer.fan_in),
        math.sqrt(2.0 / fan_out),
        glorot,
        glorot * 5 / 3,
        1 / math.sqrt(layer.fan_in),
    ]
    return min(max(layer.weight.std / target, target / max(layer.weight.std, 1e-30)) for target in targets)


def is_sigmoid(layer: Layer) -> bool:
    """A chain of sigmoids decays whatever the weights: that is the activation's fault, and another rule's."""
    return layer.activation is not None and layer.activation.is_kind("sigmoid")


@dataclass(frozen=True)
class Course:
    """The signal along a stack: layers, deviation of last over first, and the same for what the samples contribute."""

    depth: int
    total: float
    samples: float

    @property
    def rate(self) -> float:
        """Factor of the signal a layer."""
        return float(self.total ** (1 / self.depth))


def course_of(forward: ForwardStats, stack: Sequence[Layer]) -> Course | None:
    """The signal along the stack; None where it is short or not measured."""
    if len(stack) < 3:
        return None
    first, last = forward.of(stack[0].op), forward.of(stack[-1].op)
    if first is None or last is None or not first.std > 0.0:
        return None
    total = last.std / first.std if last.finite else math.inf
    begin, end = sample_signal(forward, stack[0].op), sample_signal(forward, stack[-1].op)
    samples = end / begin if begin and end is not None else total
    return Course(len(stack), total, samples)
