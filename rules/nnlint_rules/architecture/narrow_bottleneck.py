"""ARC028: a layer too narrow for what has to pass it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import Field

from nnlint import Finding, Level, Options, Skip, rule
from nnlint.kinds import CLASS_LOSSES, VALUE_PRESERVING

if TYPE_CHECKING:
    from nnlint import Graph, Op


class NarrowBottleneck(Options):
    """Thresholds; calibration: docs/evidence/calibration.md#bottleneck."""

    narrowing: int = Field(default=4, description="how many times wider the layer's input is")
    wide: int = Field(default=16, description="width that costs nothing measurable, however many classes follow")


@rule("ARC028", "narrow-bottleneck", level="warning", since="0.1")
def check(graph: Graph, options: NarrowBottleneck) -> Iterator[Finding]:
    """A hidden layer narrower than the number of classes asks for, or of width one, that everything has to pass.

    ## What it does
    Looks for linear layers that give fewer features for each sample than the number of classes less one (16 are enough for any
    number), or a single one, and at most a quarter of what they take, where every path from the inputs to the output passes the
    layer and another layer follows.
    Squeeze-and-excitation, gates and residual bottlenecks have a way around; autoencoders give back the shape of their input;
    both are left alone. Where the values reach the next layer with both signs (an embedding into the plane, to be drawn), it is an
    info: classes that lie around a point can be told apart.

    ## Why is this bad?
    The log-odds of C classes span C - 1 dimensions. Through fewer, classes cannot be told apart independently of each other, however
    wide the layers after it: of 100 classes, a net with one unit in its way learned 11 % and one with two units 61 %. Mostly two
    numbers were mixed up (hidden width and output width).

    ## Example
        nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 3), nn.ReLU(), nn.Linear(3, 10)

    ## Use instead
        nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)

    ## References
    - Yang et al., 2018, arXiv:1711.03953: Breaking the softmax bottleneck
    """
    if graph.method == "symbolic":
        raise Skip("needs shapes, but the model did not run")
    classes = _classes(graph)
    limit = min(classes - 1, options.wide) if classes is not None else 2
    for op in graph.calls("linear", "conv"):
        width, before = _features(op), _features(op.activations[0]) if op.activations else None
        if (
            op.in_loss
            or width is None
            or before is None
            or width >= max(limit, 2)
            or before < options.narrowing * width
        ):
            continue
        if _is_followed(op, width) and not _is_autoencoder(graph) and _is_the_only_way(op, graph):
            needs = (
                f"{classes} classes need {limit}"
                if width < limit and limit > 2 and classes
                else "a single number"
            )
            yield Finding(
                at=op,
                message=f"everything passes {op.label}, which is {width} wide ({before} before it): {needs}",
                evidence={"width": width, "input_width": before, "classes": classes, "limit": limit},
                fix=f"a width of at least {max(limit, 8)}",
                level=Level.INFO if width > 1 and _is_embedding(op, graph) else None,
            )


def _is_embedding(op: Op, graph: Graph) -> bool:
    """Whether the values go on into layers, past no activation but a leaky one."""
    after = [user for user in graph.consumers(op, through=(*VALUE_PRESERVING, "leaky", "dropout")) if not user.in_loss]
    return bool(after) and all(user.is_kind("linear-map") for user in after)


def _classes(graph: Graph) -> int | None:
    """Number of classes of a classification loss over one prediction for each sample."""
    for call in graph.loss_calls:
        shape = call.prediction.shape if call.prediction is not None else None
        if call.kind in CLASS_LOSSES and shape is not None and len(shape) == 2:
            return shape[1]
    return None


def _features(op: Op) -> int | None:
    return math.prod(op.shape[1:]) if op.shape is not None and len(op.shape) > 1 else None


def _is_followed(op: Op, width: int) -> bool:
    """Whether a wider layer of the model follows."""
    waiting, seen = list(op.users), set()
    while waiting:
        user = waiting.pop()
        if user in seen or user.in_loss:
            continue
        seen.add(user)
        if user.is_kind("linear-map"):
            return (_features(user) or 0) > width
        waiting.extend(user.users)
    return False


def _is_autoencoder(graph: Graph) -> bool:
    """Whether the model gives back something of the shape of its input."""
    shapes = {given.shape for given in graph.inputs}
    return any(output.shape in shapes for output in graph.outputs)


def _is_the_only_way(op: Op, graph: Graph) -> bool:
    """Whether no path leads from an input to an output around the op."""
    seen: set[Op] = {op}
    waiting = list(graph.inputs)
    ends = set(graph.outputs)
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        if current in ends or current is graph.loss:
            return False
        seen.add(current)
        waiting.extend(user for user in current.users if not user.in_loss)
    return True
