"""NRM013: batch norm applied to the logits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Skip, rule
from nnlint_rules.normalization._layers import last_layers

if TYPE_CHECKING:
    from nnlint import Graph


@rule("NRM013", "norm-on-output", level="warning", since="0.1")
def check(graph: Graph) -> Iterator[Finding]:
    """Batch norm as the last layer before the loss.

    ## What it does
    Follows the prediction of the loss back through views, casts and softmax or sigmoid, and reports a batch norm
    there. Losses on embeddings (cosine, triplet, margin) and losses between two outputs of the model are left out.

    ## Why is this bad?
    The norm forces every output to zero mean and unit variance over the batch: the network cannot say that a class is
    frequent, nor be surer of one batch than of another, except through the two numbers of the norm itself, and the
    answer to one sample depends on the others in its batch. Regression outputs lose their scale the same way.

    ## Example
        nn.Linear(64, 10), nn.BatchNorm1d(10)   # then nn.CrossEntropyLoss()

    ## Use instead
        nn.BatchNorm1d(64), nn.Linear(64, 10)

    ## References
    - Ioffe and Szegedy: Batch Normalization, 2015, arXiv:1502.03167
    """
    if not graph.loss_calls:
        raise Skip("no known loss function was called")
    seen = set()
    for loss, last in last_layers(graph):
        if not last.is_kind("batch-norm") or last in seen:
            continue
        seen.add(last)
        yield Finding(
            at=last,
            message=f"batch norm is the last layer before {loss.label}: every output is forced to zero mean and unit "
            "variance over the batch, so it cannot tell how frequent or how certain a class is",
            evidence={"loss": loss.kind, "shape": list(last.shape or ())},
            fix="end with the linear layer; put the norm before it",
        )
