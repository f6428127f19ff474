"""NRM006: dropout applied to what the loss gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule
from nnlint_rules.normalization._layers import drop_probability, is_active_dropout, last_layers

if TYPE_CHECKING:
    from nnlint import Graph


@rule("NRM006", "dropout-on-output", level="warning", since="0.1")
def check(graph: Graph) -> Iterator[Finding]:
    """Dropout as the last operation before the loss.

    ## What it does
    Follows the prediction of the loss back through views, casts and softmax or sigmoid, and reports an active dropout
    there. Losses on embeddings (cosine, triplet, margin) and losses between two outputs of the model are left out.

    ## Why is this bad?
    A dropped logit is 0 whatever the input, and the others are scaled by 1/(1-p): the answer is made random in
    training, the loss has a floor above zero, and no later layer can make up for it. Dropout belongs before the last
    linear layer.

    ## Example
        return self.drop(self.fc(x))

    ## Use instead
        return self.fc(self.drop(x))

    ## References
    - Srivastava et al.: Dropout: A Simple Way to Prevent Neural Networks from Overfitting, JMLR 2014
    """
    if not graph.loss_calls:
        raise Skip("no known loss function was called")
    seen = set()
    for loss, last in last_layers(graph):
        if not is_active_dropout(last) or last in seen:
            continue
        seen.add(last)
        p = drop_probability(last)
        yield Finding(
            at=last,
            message=f"drops {p:.0%} of the model's own answer before {loss.label}: "
            "a dropped output is 0 whatever the input, so the loss cannot reach its minimum",
            evidence={"p": p, "loss": loss.kind},
            fix="move the dropout before the last linear layer",
        )
