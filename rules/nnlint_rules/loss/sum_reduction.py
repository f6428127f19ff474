"""LOS021: a loss summed over the batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule
from nnlint.kinds import VALUE_PRESERVING

if TYPE_CHECKING:
    from nnlint import Declared, Graph, LossCalls, LossResponse, Op, Optimizer

#: A learning rate for a loss that is averaged, with plain gradient descent.
_USUAL_RATE = 0.5
#: Optimizers that divide a gradient by its size.
_ADAPTIVE = ("adam", "rmsprop", "adagrad", "adafactor", "lion", "rprop")
#: Ops before the loss among which a division is looked for.
_BEFORE = 6
_DIVIDING = ("div", "mean")
_WALKED = VALUE_PRESERVING | {"elementwise", "loss"}


@rule("LOS021", "sum-reduction", level="warning", since="0.1")
def check(
    losses: LossCalls, response: LossResponse | None, optimizer: Optimizer | None, declared: Declared
) -> Iterator[Finding]:
    """Loss summed, not averaged, over the batch.

    ## What it does
    Reports a loss function called with `reduction="sum"`, or a `.sum()` over losses of the single samples, that reaches the
    final loss without being divided; and every other loss that is for the whole batch what it is for its halves together. Sums
    that belong to a sum of several terms (an evidence lower bound), and those under a learning rate that is divided by the number
    of samples, are info. So are sums under Adam that no loss function makes (policy gradients, pairs of a ranking): the size of the
    gradient cancels there, unless it is clipped; and those of tables of embeddings alone, where a row adds up its own samples.

    ## Why is this bad?
    The loss and every gradient grow with the batch size: a learning rate tuned for one batch size is wrong for another, the
    smaller last batch counts less, and a clipping threshold means something else.

    ## Example
        loss = F.cross_entropy(logits, y, reduction="sum")

    ## Use instead
        loss = F.cross_entropy(logits, y)  # or divide the sum by the number of samples

    ## References
    - P. Goyal et al., Accurate, Large Minibatch SGD, 2017, section 2
    """
    graph, end = losses.graph, losses.require_result().op
    if end is None:
        return
    samples, found = graph.facts.samples, False
    for op, label in (*_summed_calls(losses), *_sums(graph, end, samples)):
        path = _path(graph, op, end)
        if samples < 2 or any(step.is_kind(*_DIVIDING) or _shrinks(step) for step in path):
            continue
        # A sum of terms is a bound by definition; how a library's model adds up is not the user's to change.
        meant = (losses.graph.facts.library and not op.in_loss) or any(
            step.name in ("add", "sub") and len(step.activations) > 1 for step in path
        )
        found = True
        yield Finding(
            at=op,
            level=Level.INFO if meant or _is_scaled(optimizer, samples) or _is_of_tables(graph) else None,
            message=f"{label} adds up the losses of {samples} samples: loss and gradients grow with the batch size",
            evidence={"samples": samples, "value": losses.value},
            fix='use reduction="mean", or divide by the number of samples',
        )


    measured = response is not None and response.reduction == "sum" and not (graph.facts.library or _is_divided(graph, end))
    if not found and measured and response is not None and samples > 1:
        meant = _is_bound(end, samples) or (_is_adaptive(optimizer) and declared.grad_clip is None)
        yield Finding(
            at=response,
            level=Level.INFO if meant or _is_scaled(optimizer, samples) or _is_of_tables(graph) else None,
            message=f"the loss of the batch is the sum of the losses of its halves ({response.whole:.4g} and {response.half:.4g}): "
            f"loss and gradients grow with the {samples} samples",
            evidence={"samples": samples, "value": response.whole, "halves": response.half},
            fix="divide by the number of samples, or take the mean over them",
        )


def _is_divided(graph: Graph, end: Op) -> bool:
    """Whether the sum is divided by a number that is the count of the samples, or weighed with numbers that may be."""
    for op in itertools.islice(graph.chain_back(end), _BEFORE):
        numbers = [value for value in op.leading if isinstance(value, (int, float))]
        weights = [part for part in op.inputs if not part.requires_grad and not part.is_kind("input") and part.dtype.startswith("float")]
        if op.is_kind(*_DIVIDING) or (op.is_kind("mul") and (weights or any(abs(number) < 1 for number in numbers))):
            return True
    return False


def _is_bound(end: Op, samples: int) -> bool:
    """Whether the loss adds up terms of several kinds, not one for each sample."""
    terms, waiting = 0, [end]
    while waiting:
        op = waiting.pop()
        if op.name in ("add", "sub") and len(op.activations) > 1:
            waiting.extend(op.activations)
        else:
            terms += 1
    return 1 < terms < samples


def _is_scaled(optimizer: Optimizer | None, samples: int) -> bool:
    """Whether the rate is small enough for a sum: times the samples, it is the rate of the mean. Adam takes no notice of either."""
    if optimizer is None or not optimizer.learning_rates or "adam" in optimizer.label.lower():
        return False
    return max(optimizer.learning_rates) * samples <= _USUAL_RATE


def _is_adaptive(optimizer: Optimizer | None) -> bool:
    """Whether an update is as large for a gradient of any size."""
    return optimizer is not None and any(name in optimizer.label.lower() for name in _ADAPTIVE)


def _is_of_tables(graph: Graph) -> bool:
    """Whether every trained parameter is a table that samples look rows up in: a row's gradient is the sum over its own samples."""
    readers = [op for op in graph.ops if op.parameters and op.requires_grad]
    return bool(readers) and all(op.is_kind("embedding") for op in readers)


def _summed_calls(losses: LossCalls) -> Iterator[tuple[Op, str]]:
    for call in losses:
        if call.argument("reduction") == "sum" or call.argument("size_average") is False:
            yield call.op, call.label


def _sums(graph: Graph, end: Op, samples: int) -> Iterator[tuple[Op, str]]:
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


def _path(graph: Graph, op: Op, end: Op) -> tuple[Op, ...]:
    """Ops between `op` and the final loss, in order."""
    if op is end:
        return ()
    upstream = graph.ancestors(end) | {end}
    return tuple(sorted((step for step in graph.descendants(op) if step in upstream), key=lambda step: step.index))


def _shrinks(op: Op) -> bool:
    """Whether the op multiplies with a number below 1, or with a tensor that may hold one over the count."""
    if op.name != "mul":
        return False
    numbers = [value for value in op.leading if isinstance(value, (int, float))]
    return not numbers or any(abs(number) < 1 for number in numbers)
