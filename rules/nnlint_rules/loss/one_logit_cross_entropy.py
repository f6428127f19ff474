"""LOS011: cross-entropy over one class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule
from nnlint.kinds import VALUE_PRESERVING
from nnlint_rules.loss._heads import class_count, last_layer

if TYPE_CHECKING:
    from nnlint import LossCall, LossCalls

_SCALED = VALUE_PRESERVING | {"mul", "div"}


@rule("LOS011", "one-logit-cross-entropy", level="error", since="0.1")
def check(losses: LossCalls) -> Iterator[Finding]:
    """Cross-entropy with a single logit.

    ## What it does
    Reports a `cross_entropy` whose prediction has one class. Where it compares the samples of a batch and the batch holds one, it is
    info.

    ## Why is this bad?
    The softmax over one logit is 1 whatever the logit is: the loss is 0 (or raises for a label above 0) and no gradient
    reaches the net.

    ## Example
        loss = F.cross_entropy(nn.Linear(64, 1)(x), y)

    ## Use instead
        loss = F.binary_cross_entropy_with_logits(nn.Linear(64, 1)(x).squeeze(1), y.float())

    ## References
    - PyTorch: `torch.nn.BCEWithLogitsLoss`
    """
    for call in losses.of("cross_entropy"):
        if call.prediction is None or class_count(call) != 1:
            continue
        if losses.graph.facts.samples == 1 and losses.graph.producer(call.prediction, through=_SCALED).is_kind("matmul"):
            yield _of_one_sample(call)
            continue
        layer = last_layer(losses.graph, call.prediction)
        shape = call.prediction.shape or ()
        yield Finding(
            at=layer,
            message=f"{layer.label} gives one logit to {call.label} (shape {shape}): softmax over one class is always 1, so the loss is 0",
            evidence={"shape": [*shape], "classes": 1},
            fix="for two classes use binary_cross_entropy_with_logits on the squeezed logit, or two outputs; "
            "check the order of dimensions if there are more classes (N, C, ...)",
        )


def _of_one_sample(call: LossCall) -> Finding:
    return Finding(
        at=call,
        level=Level.INFO,
        message=f"the batch holds one sample, so that {call.label} compares it with nothing: its loss is 0",
        evidence={"samples": 1, "classes": 1},
        fix="check a batch of at least two samples: the others are what a contrastive loss compares with",
    )
