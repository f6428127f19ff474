"""LOS001: softmax output fed to a cross-entropy that applies softmax itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint_rules.loss._heads import are_distributions, softmax_dim
from nnlint_rules.loss._sinks import softmax_sinks, squashed_heads

if TYPE_CHECKING:
    from nnlint import LossCalls, LossResponse, Op


@rule("LOS001", "softmax-before-cross-entropy", level="error", since="0.1")
def check(losses: LossCalls, response: LossResponse | None) -> Iterator[Finding]:
    """Softmax before a loss that applies softmax itself.

    ## What it does
    Follows the prediction of every `cross_entropy`, and the input of every `log_softmax` on the way to the loss, back through
    operations that keep its values (view, reshape, squeeze, transpose, dropout, cast, clamp, indexing, concatenation, averages)
    and reports a softmax found there, whether it is a module, a function, a method or written out as exp over its sum; and every
    other prediction whose rows are probabilities that sum to one. A softmax inside a hand-written loss counts as well. Only the
    tensor that the loss is computed from counts: a softmax for a metric, or returned beside the logits, is not reported.

    ## Why is this bad?
    Cross-entropy is log-softmax followed by the negative log-likelihood. Of values that are in [0, 1] already, the second
    softmax can make at most e / (e + C - 1), so the loss never falls below ln(e + C - 1) - 1 (1.461 for 10 classes), and the
    gradient of a wrong, confident answer vanishes. Accuracy may look fine, which is why this survives review.

    ## Example
        return F.softmax(self.head(x), dim=1)  # then nn.CrossEntropyLoss()

    ## Use instead
        return self.head(x)  # logits; softmax only where probabilities are shown

    ## References
    - PyTorch: `torch.nn.CrossEntropyLoss` expects the unnormalized logits of each class
    """
    found = set()
    for head, sink in squashed_heads(losses, softmax_sinks(losses, response), "softmax"):
        found.add(sink.op)
        yield _finding(head, sink.label, axis=softmax_dim(head))
    if response is not None and response.leaf is not None and response.shares and response.shift_invariant and not found:
        yield _finding(losses.graph.producer(losses.graph.outputs[response.leaf]), "the loss", axis=response.shares)
        return
    for call in losses.of("cross_entropy"):
        # Whoever made them: a normalization by hand, a sparse softmax, a mixture.
        if call.op not in found and call.prediction is not None and are_distributions(call):
            yield _finding(losses.graph.producer(call.prediction), call.label, axis=call.class_dim)


def _finding(head: Op, taker: str, *, axis: int | None) -> Finding:
    count = head.shape[axis] if head.shape and axis is not None else None
    # Over the batch the rows do not sum to one: what the loss can reach says nothing then.
    over_batch = axis == 0 and head.shape is not None and len(head.shape) > 1
    floor = math.log(math.e + count - 1) - 1 if count and not over_batch else None
    limit = f": the loss cannot fall below {floor:.3f} for {count} classes" if floor is not None else ""
    where = ", taken over the samples of the batch" if over_batch else ""
    return Finding(
        at=head,
        message=f"{taker} applies softmax itself but gets the probabilities of {head.label}{where}{limit}",
        evidence={"classes": None if over_batch else count, "loss_floor": floor, "loss": taker},
        fix=_fix(head),
    )


def _fix(head: Op) -> str:
    source = head.input
    if not head.is_kind("softmax") or source is None:
        return "give the loss the scores before they are scaled to sum to 1, or take `-torch.log(p[range(n), y]).mean()` of them"
    if source.is_kind("linear-map") and source.module_path:
        return f"remove the softmax and give the loss the logits of {source.label}; apply softmax only where probabilities are shown"
    return "remove the softmax and give the loss the scores before it; apply softmax only where probabilities are shown"
