"""NRM002: batch norm after the activation instead of before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint.kinds import SHAPE_ONLY
from nnlint_rules._shared.words import listed, paths

if TYPE_CHECKING:
    from nnlint import Graph, Op


@rule("NRM002", "norm-after-activation", level="info", since="0.1")
def check(graph: Graph) -> Iterator[Finding]:
    """A layer, its activation, and only then the batch norm.

    ## What it does
    Lists batch norms whose input is the activation of a linear or convolution layer. Pre-activation networks (norm,
    activation, convolution) have another order and are not meant.

    ## Why is this bad?
    It is a convention, not a fault: networks train in both orders. The usual order is layer, norm, activation,
    dropout: the norm then centers what the activation sees, and the bias of the layer becomes unnecessary.

    ## Example
        x = self.bn1(F.relu(self.conv1(x)))

    ## Use instead
        x = F.relu(self.bn1(self.conv1(x)))

    ## References
    - Ioffe and Szegedy: Batch Normalization, 2015, arXiv:1502.03167, section 3.2
    """
    norms = [norm for norm in graph.calls("batch-norm") if _follows_activation(graph, norm)]
    if not norms:
        return
    first = norms[0]
    activation = graph.producer(first.activations[0], through=SHAPE_ONLY | {"dropout"})
    yield Finding(
        at=first,
        message=f"the batch norm comes after the activation ({activation.label}) of its layer; "
        f"the usual order is layer, norm, activation: {listed(norm.label for norm in norms)}",
        evidence={"norms": [norm.label for norm in norms]},
        fix="put the norm between the layer and its activation, unless this order is meant",
        modules=paths(norms),
    )


def _follows_activation(graph: Graph, norm: Op) -> bool:
    if not norm.activations:
        return False
    through = SHAPE_ONLY | {"dropout"}
    activation = graph.producer(norm.activations[0], through=through)
    if not activation.is_kind("activation") or not activation.activations:
        return False
    return graph.producer(activation.activations[0], through=through).is_kind("linear-map")
