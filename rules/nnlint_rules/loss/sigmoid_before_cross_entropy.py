"""LOS002: a multi-class head squashed by a sigmoid before cross-entropy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint_rules.loss._heads import class_dim
from nnlint_rules.loss._sinks import softmax_sinks, squashed_heads

if TYPE_CHECKING:
    from nnlint import LossCalls, LossResponse


@rule("LOS002", "sigmoid-before-cross-entropy", level="error", since="0.1")
def check(losses: LossCalls, response: LossResponse | None) -> Iterator[Finding]:
    """Sigmoid before a multi-class cross-entropy.

    ## What it does
    Follows the prediction of every `cross_entropy`, the input of every `log_softmax` on the way to the loss, and what any other
    loss takes for the logits of classes (it answers the same when one number is added to all of them), back through operations
    that keep its values and reports a `sigmoid` or `hardsigmoid` found there.

    ## Why is this bad?
    Cross-entropy expects logits of any size. A sigmoid holds them in (0, 1), so the softmax inside the loss can make at most
    e / (e + C - 1) of the right class: the loss never falls below ln(e + C - 1) - 1 (1.461 for 10 classes), and where the
    sigmoid saturates no gradient passes.

    ## Example
        return torch.sigmoid(self.head(x))  # then nn.CrossEntropyLoss()

    ## Use instead
        return self.head(x)  # one class of many: logits
        # several labels at once: logits and nn.BCEWithLogitsLoss()

    ## References
    - PyTorch: `torch.nn.CrossEntropyLoss` expects the unnormalized logits of each class
    """
    for head, sink in squashed_heads(losses, softmax_sinks(losses, response), "sigmoid"):
        shape = sink.value.shape
        classes = shape[class_dim(shape)] if shape else None
        floor = math.log(math.e + classes - 1) - 1 if classes else None
        limit = f": the loss cannot fall below {floor:.3f} for {classes} classes" if floor is not None else ""
        yield Finding(
            at=head,
            message=f"{sink.label} expects logits but gets the output of {head.label}, in (0, 1){limit}",
            evidence={"classes": classes, "loss_floor": floor, "loss": sink.label},
            fix="remove the sigmoid and give the loss the logits; for several labels at once use BCEWithLogitsLoss instead",
        )
