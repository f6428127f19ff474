"""INI001: the weight scale does not suit the activation, and the signal is lost over depth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, rule
from nnlint_rules.initialization._gain import Course, course_of, distance_to_usual, is_sigmoid, scale_of, target_of
from nnlint_rules.initialization._stacks import Layer, covered, layers, stacks

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
        judged = [layer for layer in stack if target_of(layer) is not None]
        small = [layer for layer in judged if scale_of(layer) < 1 / options.tolerance and not is_sigmoid(layer)]
        large = [layer for layer in judged if scale_of(layer) > options.tolerance]
        course = course_of(forward, judged)
        if course is None or judged[0].op in reported:
            continue
        reported.add(judged[0].op)  # branches of one trunk are one stack
        if _decays(course, options) and len(small) * 2 > len(judged):
            yield _harm(small, course, options, decays=True)
        elif _grows(course, options) and len(large) * 2 > len(judged):
            yield _harm(large, course, options, decays=False)
        elif not graph.calls("norm") and not any(len(op.activations) > 1 for op in graph.calls("add")):
            yield from _note(judged, options)


def _decays(course: Course, options: GainMismatch) -> bool:
    slow = course.depth >= options.depth and course.rate < options.slowest
    return slow or course.total < 1 / options.total or course.samples < 1 / options.samples


def _grows(course: Course, options: GainMismatch) -> bool:
    return (course.depth >= options.depth and course.rate > options.fastest) or course.total > options.total


def _harm(wrong: Sequence[Layer], course: Course, options: GainMismatch, *, decays: bool) -> Finding:
    layer = wrong[0]
    ratio = scale_of(layer)
    return Finding(
        at=layer.place,
        message=f"{len(wrong)} of {course.depth} layers in sequence have weights at {ratio:.2g}x the scale that "
        f"{_name(layer.activation)} needs, and the signal {'shrinks' if decays else 'grows'} to {course.rate:.2g}x per layer "
        f"(healthy: {options.slowest:g}x to {options.fastest:g}x; {course.total:.2g}x over all layers, "
        f"{course.samples:.2g}x in the differences between samples)",
        evidence={
            "weight_scale": {one.weight.name: scale_of(one) for one in wrong},
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
        if distance_to_usual(layer) > options.unusual
        and not (layer.weight.init is not None and layer.weight.init.name == "torch default")
    ]
    if unusual:
        layer = unusual[0]
        yield Finding(
            at=layer.place,
            level=Level.INFO,
            message=f"the weights are at {scale_of(layer):.2g}x the scale that {_name(layer.activation)} needs "
            f"({len(unusual)} of {len(judged)} layers in sequence); no harm was measured at this depth",
            evidence={"weight_scale": {one.weight.name: scale_of(one) for one in unusual}},
            fix=_fix(layer),
            modules=covered(unusual),
        )


def _name(activation: Op | None) -> str:
    return activation.name if activation is not None else "the layer"


def _fix(layer: Layer) -> str:
    if layer.activation is not None and layer.activation.is_kind("saturating"):
        return "nn.init.xavier_uniform_(layer.weight, gain=5 / 3), or a norm before each activation"
    return "nn.init.kaiming_normal_(layer.weight, nonlinearity='relu'), or a norm before each activation, or shortcuts"
