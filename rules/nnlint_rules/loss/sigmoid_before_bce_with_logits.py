"""LOS005: sigmoid output fed to a binary loss that applies sigmoid itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint_rules.loss._sinks import sigmoid_sinks, squashed_heads

if TYPE_CHECKING:
    from nnlint import LossCalls, LossResponse
    from nnlint_rules.loss._sinks import LogitSink

#: Smallest loss of a negative and of a positive label when the "logit" is held between 0 and 1.
_FLOOR_NEGATIVE = math.log(2.0)
_FLOOR_POSITIVE = math.log1p(math.exp(-1.0))


@rule("LOS005", "sigmoid-before-bce-with-logits", level="error", since="0.1")
def check(losses: LossCalls, response: LossResponse | None) -> Iterator[Finding]:
    """Sigmoid before a binary loss that applies sigmoid itself.

    ## What it does
    Follows the prediction of `binary_cross_entropy_with_logits`, `multilabel_soft_margin_loss` and `soft_margin_loss` (focal
    losses on logits are built on the first), the input of a `logsigmoid`, or of a sigmoid inside a hand-written loss, and what any
    other loss takes for logits (large numbers of the right sign are its best answers, the targets themselves are not), back
    through operations that keep its values and reports a sigmoid, softmax or log_softmax found there, also one that is written
    out. A sigmoid for a metric is not reported.

    ## Why is this bad?
    The loss takes the probability for a logit: between 0 and 1 it can only mean probabilities of 0.5 to 0.73. No label can
    be predicted with confidence, the loss of a negative never falls below 0.693, and every prediction is biased to positive.

    ## Example
        return torch.sigmoid(self.head(x))  # then nn.BCEWithLogitsLoss()

    ## Use instead
        return self.head(x)  # logits; torch.sigmoid only where probabilities are shown

    ## References
    - PyTorch: `torch.nn.BCEWithLogitsLoss` combines a sigmoid layer and BCELoss
    """
    for head, sink in squashed_heads(losses, sigmoid_sinks(losses, response), "sigmoid", "softmax", "log-softmax"):
        logarithms = head.is_kind("log-softmax")
        yield Finding(
            at=head,
            message=f"{head.label}: {_words(sink, logarithms=logarithms)}",
            evidence={
                "floor_negative": 0.0 if logarithms else _FLOOR_NEGATIVE,
                "floor_positive": _FLOOR_NEGATIVE if logarithms else _FLOOR_POSITIVE,
                "loss": sink.label,
            },
            fix=f"remove the {head.name} and give the loss the logits; apply it only where probabilities are shown",
        )


def _words(sink: LogitSink, *, logarithms: bool) -> str:
    if logarithms:
        return (
            f"{sink.label} expects logits but gets these log-probabilities, none above 0: no probability can be above "
            f"0.5, and the loss of a positive label never below {_FLOOR_NEGATIVE:.3f}"
        )
    if sink.op.is_kind("sigmoid"):
        return f"{sink.label} applies a second sigmoid to these outputs in (0, 1), which leaves 0.5 to 0.731"
    return (
        f"{sink.label} expects logits but gets these outputs in (0, 1): the loss cannot fall below "
        f"{_FLOOR_NEGATIVE:.3f} for a negative label and {_FLOOR_POSITIVE:.3f} for a positive one"
    )
