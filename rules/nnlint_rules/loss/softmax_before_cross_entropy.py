"""LOS001: softmax output fed to a cross-entropy that applies softmax itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint_rules.loss._heads import softmax_dim, softmax_sinks, squashed_heads

if TYPE_CHECKING:
    from nnlint import LossCalls, Op


@rule(
    "LOS001",
    "softmax-before-cross-entropy",
    level="error",
    since="0.1",
    explains=["LOS008", "LOS018", "LOS024", "ARC006", "ARC019", "GRD001", "SIG004", "SIG006", "TRN001", "TRN005"],
)
def check(losses: LossCalls) -> Iterator[Finding]:
    """Softmax before a loss that applies softmax itself.

    ## What it does
    Follows the prediction of every `cross_entropy`, and the input of every `log_softmax` on the way to the loss, back through
    operations that keep its values (view, reshape, squeeze, transpose, dropout, cast, clamp, indexing, concatenation, averages)
    and reports a softmax found there, whether it is a module, a function or a method. Only the tensor that the loss is computed
    from counts: a softmax for a metric, or returned beside the logits, is none of its business.

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
    for head, sink in squashed_heads(losses, softmax_sinks(losses), "softmax"):
        classes = _classes(head)
        floor = math.log(math.e + classes - 1) - 1 if classes else None
        limit = f": the loss cannot fall below {floor:.3f} for {classes} classes" if floor is not None else ""
        source = f" of {head.input.label}" if head.input is not None and head.input.module_path else ""
        yield Finding(
            at=head,
            message=f"{head.label}: its probabilities go into {sink.label}, which applies softmax itself{limit}",
            evidence={"classes": classes, "loss_floor": floor, "loss": sink.label},
            fix=f"remove the softmax and give the loss the logits{source}; apply softmax only where probabilities are shown",
        )


def _classes(head: Op) -> int | None:
    dim = softmax_dim(head)
    return head.shape[dim] if head.shape and dim is not None else None
