"""INI001: the weight scale does not suit the activation, and the signal is lost over depth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, rule
from nnlint_rules.initialization._stacks import Layer, covered, layers, sample_signal, stacks

if TYPE_CHECKING:
    from nnlint import ForwardStats, Graph, Op, Parameters


class GainMismatch(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#signal-rates."""

    tolerance: float = Field(default=1.25, description="accepted factor between the weight deviation and its target")
    unusual: float = Field(default=2.0, description="factor from which a deviation without harm is worth an info")
    depth: int = Field(default=8, description="shortest stack whose rate of decay or growth is judged")
    slowest: float = Field(default=0.6, description="smallest healthy factor of the signal a layer")
    fastest: float = Field(default=1.7, description="largest healthy factor of the signal a layer")
    total: float = Field(default=1e4, description="largest healthy decay or growth over the whole stack")
    samples: float = Field(default=1e6, description="largest healthy decay of what the samples contribute")


@rule("INI001", "gain-mismatch", level="warning", since="0.1")
def check(graph: Graph, parameters: Parameters, forward: ForwardStats, options: GainMismatch) -> Iterator[Finding]:
    """Weights drawn for another activation than the one after the layer, and a signal that is lost because of it.

    ## What it does
    Takes stacks of fresh layers without normalization and without shortcuts, compares each weight deviation with the
    target for the activation after the layer (He, sqrt(2 / fan_in), for the ReLU family; Glorot for tanh and
    sigmoid) and measures the signal along the stack. A warning needs both: deviations on one side of the target, and
    a signal that decays or grows accordingly (a rate outside 0.6 to 1.7 a layer over 8 layers or more, 1e4 in all, or
    1e6 in what the samples contribute). Without measured harm an unusual deviation is an info in models without norms and
    shortcuts, and torch's default is none. SELU has a rule of its own.

    ## Why is this bad?
    A ReLU halves the mean square of its input, and only sqrt(2 / fan_in) makes up for it. torch's default for linear
    and convolution layers is 0.41 times that: harmless in a shallow net, but after twenty layers all samples look
    alike and no gradient comes back.

    ## Example
        layers = [nn.Linear(256, 256), nn.ReLU()] * 20      # default initialization, no norm

    ## Use instead
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")   # or a norm before each activation, or shortcuts

    ## References
    - He et al.: Delving Deep into Rectifiers, 2015, arXiv:1502.01852
    - PyTorch: `torch.nn.init.calculate_gain`; https://github.com/pytorch/pytorch/issues/15314
    """
    parameters.require_fresh()
    reported: set[Op] = set()
    for stack in stacks(graph, layers(graph, parameters)):
        # An output layer may be small, or zero, on purpose.
        judged = [layer for layer in stack if _target(layer) is not None]
        small = [layer for layer in judged if _ratio(layer) < 1 / options.tolerance and not _is_sigmoid(layer)]
        large = [layer for layer in judged if _ratio(layer) > options.tolerance]
        course = _course(forward, judged)
        if course is None or judged[0].op in reported:
            continue
        reported.add(judged[0].op)  # branches of one trunk are one stack
        if course.decays(options) and len(small) * 2 > len(judged):
            yield _harm(small, course, options, decays=True)
        elif course.grows(options) and len(large) * 2 > len(judged):
            yield _harm(large, course, options, decays=False)
        elif not graph.calls("norm") and not any(len(op.activations) > 1 for op in graph.calls("add")):
            yield from _note(judged, options)


@dataclass(frozen=True)
class _Course:
    """The signal along a stack: layers, deviation of last over first, and the same for what the samples contribute."""

    depth: int
    total: float
    samples: float

    @property
    def rate(self) -> float:
        return float(self.total ** (1 / self.depth))

    def decays(self, options: GainMismatch) -> bool:
        slow = self.depth >= options.depth and self.rate < options.slowest
        return slow or self.total < 1 / options.total or self.samples < 1 / options.samples

    def grows(self, options: GainMismatch) -> bool:
        return (self.depth >= options.depth and self.rate > options.fastest) or self.total > options.total


def _course(forward: ForwardStats, stack: Sequence[Layer]) -> _Course | None:
    if len(stack) < 3:
        return None
    first, last = forward.of(stack[0].op), forward.of(stack[-1].op)
    if first is None or last is None or not first.std > 0.0:
        return None
    total = last.std / first.std if last.finite else math.inf
    begin, end = sample_signal(forward, stack[0].op), sample_signal(forward, stack[-1].op)
    samples = end / begin if begin and end is not None else total
    return _Course(len(stack), total, samples)


def _target(layer: Layer) -> float | None:
    """Deviation that the activation after the layer asks for; None where there is no such figure."""
    activation = layer.activation
    if activation is None or layer.weight.constant or not layer.weight.finite or layer.weight.fan_out is None:
        return None
    if activation.is_kind("rectifier", "leaky", "smooth-rectifier", "elu"):
        return math.sqrt(2.0 / layer.fan_in)
    if activation.is_kind("saturating"):
        return math.sqrt(2.0 / (layer.fan_in + layer.weight.fan_out))
    return None


def _ratio(layer: Layer) -> float:
    return layer.weight.std / (_target(layer) or math.inf)


def _accepted(layer: Layer) -> float:
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


def _is_sigmoid(layer: Layer) -> bool:
    """A chain of sigmoids decays whatever the weights: that is the activation's fault, and another rule's."""
    return layer.activation is not None and layer.activation.is_kind("sigmoid")


def _harm(wrong: Sequence[Layer], course: _Course, options: GainMismatch, *, decays: bool) -> Finding:
    layer = wrong[0]
    ratio = _ratio(layer)
    return Finding(
        at=layer.op,
        message=f"{len(wrong)} of {course.depth} layers in sequence have weights at {ratio:.2g}x the scale that "
        f"{_name(layer.activation)} needs, and the signal {'shrinks' if decays else 'grows'} to {course.rate:.2g}x per layer "
        f"(healthy: {options.slowest:g}x to {options.fastest:g}x; {course.total:.2g}x over all layers, "
        f"{course.samples:.2g}x in the differences between samples)",
        evidence={
            "weight_scale": {one.weight.name: _ratio(one) for one in wrong},
            "layers": course.depth,
            "rate": course.rate if math.isfinite(course.rate) else None,
            "total": course.total if math.isfinite(course.total) else None,
            "samples": course.samples if math.isfinite(course.samples) else None,
            "healthy_rate": [options.slowest, options.fastest],
        },
        fix=_fix(layer),
        modules=covered(wrong),
    )


def _note(judged: Sequence[Layer], options: GainMismatch) -> Iterator[Finding]:
    unusual = [
        layer
        for layer in judged
        if _accepted(layer) > options.unusual
        and not (layer.weight.init is not None and layer.weight.init.name == "torch default")
    ]
    if unusual:
        layer = unusual[0]
        yield Finding(
            at=layer.op,
            level=Level.INFO,
            message=f"the weights are at {_ratio(layer):.2g}x the scale that {_name(layer.activation)} needs "
            f"({len(unusual)} of {len(judged)} layers in sequence); no harm was measured at this depth",
            evidence={"weight_scale": {one.weight.name: _ratio(one) for one in unusual}},
            fix=_fix(layer),
            modules=covered(unusual),
        )


def _name(activation: Op | None) -> str:
    return activation.name if activation is not None else "the layer"


def _fix(layer: Layer) -> str:
    if layer.activation is not None and layer.activation.is_kind("saturating"):
        return "nn.init.xavier_uniform_(layer.weight, gain=5 / 3), or a norm before each activation"
    return "nn.init.kaiming_normal_(layer.weight, nonlinearity='relu'), or a norm before each activation, or shortcuts"
