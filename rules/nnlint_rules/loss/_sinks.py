"""Where values are taken as logits on the way to the loss, and which heads give them squashed already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlint_rules.loss._heads import AVERAGES, SQUASHED_THROUGH, heads_of

if TYPE_CHECKING:
    from nnlint import LossCalls, LossResponse, Op


SOFTMAX_LOSSES = ("cross_entropy",)
SIGMOID_LOSSES = ("binary_cross_entropy_with_logits", "multilabel_soft_margin_loss", "soft_margin_loss")


@dataclass(frozen=True)
class LogitSink:
    """A place on the loss path where values are taken as logits.

    Attributes:
        value: the op whose output is taken as logits.
        op: the op that takes them (the loss function, or a log_softmax before it).
        label: what to call the taker in a message.
    """

    value: Op
    op: Op
    label: str


def softmax_sinks(losses: LossCalls, response: LossResponse | None = None) -> Iterator[LogitSink]:
    """Where a softmax will be applied: cross-entropy calls, every log_softmax on the way to the loss, a softmax in the loss.

    With `response` also what any other loss takes for logits of classes, by its answers.
    """
    yield from _loss_sinks(losses, SOFTMAX_LOSSES)
    yield from _op_sinks(losses, "log_softmax")
    yield from (sink for sink in _op_sinks(losses, "softmax") if _is_of_loss(losses, sink.op))
    yield from _answered(losses, response, classes=True)


def sigmoid_sinks(losses: LossCalls, response: LossResponse | None = None) -> Iterator[LogitSink]:
    """Where a sigmoid will be applied: binary losses on logits, every logsigmoid on the way to the loss, a sigmoid in the loss.

    With `response` also what any other loss takes for logits of single decisions, by its answers.
    """
    yield from _loss_sinks(losses, SIGMOID_LOSSES)
    yield from _op_sinks(losses, "logsigmoid")
    yield from (sink for sink in _op_sinks(losses, "sigmoid") if _is_of_loss(losses, sink.op))
    yield from _answered(losses, response, classes=False)


def _answered(losses: LossCalls, response: LossResponse | None, *, classes: bool) -> Iterator[LogitSink]:
    """The output that a loss, whoever wrote it, takes for logits by what it answers; of `classes`, or one for each decision."""
    if response is None or response.leaf is None or response.takes != "logits" or response.op is None:
        return
    if bool(response.shift_invariant) is classes:
        yield LogitSink(losses.graph.outputs[response.leaf], response.op, "the loss")


def _is_of_loss(losses: LossCalls, op: Op) -> bool:
    """Whether the op belongs to the loss (a dice or focal loss that takes logits): no layer comes after it."""
    if not op.in_loss:
        return False
    graph, upstream = losses.graph, loss_path(losses)
    layers = ("linear-map", "matmul", "recurrent", "attention", "norm", "embedding")
    return not any(after.is_kind(*layers) for after in graph.descendants(op) if after in upstream)


def _loss_sinks(losses: LossCalls, kinds: tuple[str, ...]) -> Iterator[LogitSink]:
    for call in losses.of(*kinds):
        if call.prediction is not None:
            yield LogitSink(call.prediction, call.op, call.label)


def _op_sinks(losses: LossCalls, name: str) -> Iterator[LogitSink]:
    calls = losses.graph.calls(name)
    upstream = loss_path(losses) if calls else frozenset()
    for op in calls:
        if op in upstream and op.activations:
            yield LogitSink(op.activations[0], op, op.label)


def loss_path(losses: LossCalls) -> frozenset[Op]:
    """Every op that the loss (or, where it is not known, any loss function) depends on."""
    graph = losses.graph
    ends = [losses.op] if losses.op is not None else [call.op for call in losses]
    return frozenset(ends).union(*(graph.ancestors(end) for end in ends))


def squashed_heads(losses: LossCalls, sinks: Iterator[LogitSink], *kinds: str) -> Iterator[tuple[Op, LogitSink]]:
    """Ops of these kinds whose values are taken as logits, each once, with the first taker."""
    seen: set[int] = set()
    for sink in sinks:
        for head in heads_of(losses.graph, sink.value, through=SQUASHED_THROUGH.union(AVERAGES)):
            if head.is_kind(*kinds) and head.index not in seen:
                seen.add(head.index)
                yield head, sink
