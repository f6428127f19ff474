"""Takes the final loss apart into the terms that it adds up."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from nnlint.capture.graph import Graph
    from nnlint.capture.op import Op

_ALIKE = ("identity", "cast", "view")
#: More terms than this are no sum of objectives but one of samples or layers.
MOST = 12


@dataclass(frozen=True)
class Summand:
    """One term of the loss.

    Attributes:
        op: makes the term's value, without the numbers that it is multiplied with.
        factor: the product of these numbers, with the sign.
        reduction: "mean" or "sum" where all terms are reduced together, "" where the value is one number.
    """

    op: Op
    factor: float = 1.0
    reduction: str = ""

    def reduced(self, value: Tensor) -> Tensor:
        """What the loss adds, without the factor, of the value that the op made."""
        return value if not self.reduction else value.mean() if self.reduction == "mean" else value.sum()


def summands(graph: Graph) -> tuple[Summand, ...]:
    """The terms of the final loss in the order they are added; one where it is no sum, none where there is no loss."""
    if graph.loss is None:
        return ()
    found = tuple(_parts(graph, Summand(graph.loss)))
    if len(found) > MOST:  # a penalty on each layer, added one by one: the first that trains nothing stands for all
        penalties = [part for part in found if _is_of_weights(graph, part.op)]
        dead = next((part for part in penalties if not part.op.requires_grad), None)
        found = tuple(part for part in found if part not in penalties or part is dead)
    return found if len(found) <= MOST else ()


def _parts(graph: Graph, whole: Summand) -> Iterator[Summand]:
    op = whole.op
    parts = _operands(graph, op)
    tensors = [part for part in parts if not isinstance(part, (int, float))]
    numbers = [float(part) for part in parts if isinstance(part, (int, float))]
    if op.name in ("add", "sub", "rsub") and _is_one_penalty(graph, op):
        yield whole
    elif op.name == "neg" and tensors:
        yield from _parts(graph, replace(whole, op=tensors[0], factor=-whole.factor))
    elif op.name in ("mul", "div") and len(tensors) == 1 and len(numbers) == 1 and _is_first(op, tensors[0]):
        number = numbers[0] if op.name == "mul" else 1.0 / numbers[0] if numbers[0] else 1.0
        yield from _parts(graph, replace(whole, op=tensors[0], factor=whole.factor * number))
    elif op.name in ("add", "sub", "rsub") and tensors:
        signs = (1.0, -1.0) if op.name == "sub" else (-1.0, 1.0) if op.name == "rsub" else (1.0, 1.0)
        for sign, part in zip(signs, parts, strict=False):
            if not isinstance(part, (int, float)):
                yield from _parts(graph, replace(whole, op=part, factor=sign * whole.factor))
    elif op.name in ("mean", "sum") and op.shape == () and not whole.reduction and len(tensors) == 1:
        yield from _reduced(graph, whole, tensors[0])
    elif op.is_kind(*_ALIKE) and tensors:
        yield from _parts(graph, replace(whole, op=tensors[0]))
    else:
        yield whole


def _is_one_penalty(graph: Graph, op: Op) -> bool:
    """Whether a sum is one term: it adds up the weights of layers, or nothing that has a gradient where the loss has one."""
    if not op.requires_grad and graph.loss is not None and graph.loss.requires_grad:
        return True
    return _is_of_weights(graph, op)


def _is_of_weights(graph: Graph, op: Op) -> bool:
    return all(part.is_kind("parameter", "buffer") for part in graph.ancestors(op) if not part.inputs)


def _reduced(graph: Graph, whole: Summand, inner: Op) -> Iterator[Summand]:
    """The terms under a common mean or sum: those of a stack, or of a sum for each sample; else the reduction itself.

    What is added entry by entry (the divergence of a code from its prior) is one formula, not several terms.
    """
    if inner.name == "stack" and len(inner.activations) > 1:
        share = 1.0 / len(inner.activations) if whole.op.name == "mean" else 1.0
        for part in inner.activations:
            yield from _parts(graph, replace(whole, op=part, factor=whole.factor * share))
        return
    shape = inner.shape or ()
    for_samples = bool(shape) and math.prod(shape) == shape[0]
    inside = tuple(_parts(graph, Summand(inner, whole.factor, whole.op.name))) if for_samples else ()
    if len(inside) > 1:
        yield from inside
    else:
        yield whole


def _operands(graph: Graph, op: Op) -> list[Any]:
    """Arguments as ops and numbers, in order."""
    found: list[Any] = []
    for value in (*op.leading, *op.node.kwargs.values()):
        if graph.holds(value):
            found.append(graph.of(value))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append(value)
    return found


def _is_first(op: Op, tensor: Op) -> bool:
    """Whether a quotient divides the tensor, not a number by it."""
    return op.name == "mul" or (bool(op.leading) and op.leading[0] is tensor.node and "rdiv" not in str(op.node.target))
