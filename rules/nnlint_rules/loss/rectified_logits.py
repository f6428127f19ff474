"""LOS017: an activation between the last layer and a loss on logits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule
from nnlint_rules.loss._sinks import sigmoid_sinks, softmax_sinks

if TYPE_CHECKING:
    from nnlint import Graph, LossCalls, LossResponse, Op

_REASONS = {
    "rectifier": (
        None,
        "every negative logit becomes 0 and passes no gradient: classes whose logits are all negative cannot recover",
    ),
    "smooth-rectifier": (None, "logits are bounded below, so no class can be ruled out"),
    "elu": (Level.WARNING, "logits are bounded below, so no class can be ruled out"),
    "selu": (Level.WARNING, "logits are bounded below, so no class can be ruled out"),
    "tanh": (Level.WARNING, "logits are held in [-1, 1], so the loss cannot become small"),
    "hardtanh": (Level.WARNING, "logits are held in a small interval, so the loss cannot become small"),
    "softsign": (Level.WARNING, "logits are held in [-1, 1], so the loss cannot become small"),
    "leaky": (Level.INFO, "negative logits are shrunk; the loss expects them as they are"),
}
#: Bounded below alone, with a gradient everywhere: a softmax, which compares logits, loses nothing.
_NEVER_DEAD = ("elu", "selu")


@rule("LOS017", "rectified-logits", level="error", since="0.1")
def check(losses: LossCalls, response: LossResponse | None) -> Iterator[Finding]:
    """Activation applied to the logits right before a loss on logits.

    ## What it does
    Follows what cross-entropy, `log_softmax`, binary losses on logits, and any other loss that by its answers takes its input for
    logits, are given back through operations that keep its values and reports an activation found there: ReLU-like ones
    (a clamp at 0 too) and GELU-like ones as an error, tanh-like and ELU-like as a warning, leaky ones as info. Global pooling
    between the activation and the loss (SqueezeNet) makes it info, and so does a softmax after an ELU: only differences of logits
    count there, and no unit dies.

    ## Why is this bad?
    Logits are compared with each other and may have any sign. A ReLU makes 0 of every negative one: a class that is ruled
    out looks like one that is undecided, a unit that is negative for all samples gets no gradient any more, and the loss
    stops far above what the net could reach.

    ## Example
        return F.relu(self.head(x))  # then nn.CrossEntropyLoss()

    ## Use instead
        return self.head(x)

    ## References
    - PyTorch: `torch.nn.CrossEntropyLoss` expects logits, which need not be positive or sum to 1
    """
    seen: set[int] = set()
    compared = {sink.op.index for sink in softmax_sinks(losses, response)}
    for sink in (*softmax_sinks(losses, response), *sigmoid_sinks(losses, response)):
        head, pooled = _activation(losses.graph, sink.value)
        kind = "rectifier" if _cuts_at_zero(head) else next((kind for kind in _REASONS if head.is_kind(kind)), None)
        if kind is None or head.index in seen:
            continue
        seen.add(head.index)
        level, reason = _REASONS[kind]
        yield Finding(
            at=head,
            level=Level.INFO if pooled or (sink.op.index in compared and kind in _NEVER_DEAD) else level,
            message=f"{head.label} stands between the last layer and {sink.label}: {reason}",
            evidence={"activation": head.name, "loss": sink.label, "pooled": pooled},
            fix=f"remove the {head.name} after the last layer: the loss expects raw logits",
        )


def _cuts_at_zero(head: Op) -> bool:
    """Whether a clamp does what a ReLU does."""
    return head.is_kind("clamp") and head.argument("min") == 0 and head.argument("max") is None


def _activation(graph: Graph, value: Op) -> tuple[Op, bool]:
    """The op that gives the logits, and whether an average over positions stands between it and the loss."""
    head = graph.producer(value)
    if head.is_kind("avg-pool", "mean") and head.activations:
        return graph.producer(head.activations[0]), True
    return head, False
