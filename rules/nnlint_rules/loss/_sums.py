"""Where a loss adds up the samples, and whether something divides the sum on its way to the end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint.kinds import VALUE_PRESERVING

if TYPE_CHECKING:
    from nnlint import Graph, LossCalls, Op


#: Ops before the loss among which a division is looked for.
_BEFORE = 6


DIVIDING = ("div", "mean")


_WALKED = VALUE_PRESERVING | {"elementwise", "loss"}


def is_divided(graph: Graph, end: Op) -> bool:
    """Whether the sum is divided by a number that is the count of the samples, or weighed with numbers that may be."""
    for op in itertools.islice(graph.chain_back(end), _BEFORE):
        numbers = [value for value in op.leading if isinstance(value, (int, float))]
        weights = [part for part in op.inputs if not part.requires_grad and not part.is_kind("input") and part.dtype.startswith("float")]
        if op.is_kind(*DIVIDING) or (op.is_kind("mul") and (weights or any(abs(number) < 1 for number in numbers))):
            return True
    return False


def is_bound(end: Op, samples: int) -> bool:
    """Whether the loss adds up terms of several kinds, not one for each sample."""
    terms, waiting = 0, [end]
    while waiting:
        op = waiting.pop()
        if op.name in ("add", "sub") and len(op.activations) > 1:
            waiting.extend(op.activations)
        else:
            terms += 1
    return 1 < terms < samples


def summed_calls(losses: LossCalls) -> Iterator[tuple[Op, str]]:
    """Calls of loss functions that are told to add up."""
    for call in losses:
        if call.argument("reduction") == "sum" or call.argument("size_average") is False:
            yield call.op, call.label


def sums(graph: Graph, end: Op, samples: int) -> Iterator[tuple[Op, str]]:
    """Full sums of what has one entry for each sample: of a loss without reduction, or of squares and differences."""
    for op in graph.calls("sum"):
        source = op.activations[0] if op.activations else None
        if (
            source is None
            or op.shape != ()
            or not source.shape
            or source.shape[0] != samples
            or not graph.reaches(op, end)
        ):
            continue
        if op.argument("dim") is None and _is_plain_error(source):
            yield op, op.label


def _is_plain_error(op: Op) -> bool:
    """Whether the values are errors as they are: nothing was divided or weighted on the way from a loss or a difference."""
    for _ in range(6):
        if op.is_kind("loss") or op.name == "sub":
            return True
        if not op.is_kind(*_WALKED) or op.is_kind("mul", "div") or not op.activations:
            return False
        op = op.activations[0]
    return False


def ops_between(graph: Graph, op: Op, end: Op) -> tuple[Op, ...]:
    """Ops between `op` and the final loss, in order."""
    if op is end:
        return ()
    upstream = graph.ancestors(end) | {end}
    return tuple(sorted((step for step in graph.descendants(op) if step in upstream), key=lambda step: step.index))


def shrinks(op: Op) -> bool:
    """Whether the op multiplies with a number below 1, or with a tensor that may hold one over the count."""
    if op.name != "mul":
        return False
    numbers = [value for value in op.leading if isinstance(value, (int, float))]
    return not numbers or any(abs(number) < 1 for number in numbers)
