"""NRM003: dropout between a layer and its activation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, rule
from nnlint.kinds import SHAPE_ONLY
from nnlint_rules._shared.words import paths
from nnlint_rules.normalization._layers import is_active_dropout

if TYPE_CHECKING:
    from nnlint import Graph, Op


@rule("NRM003", "dropout-before-activation", level="info", since="0.1")
def check(graph: Graph) -> Iterator[Finding]:
    """Dropout between a layer and its activation.

    ## What it does
    Lists dropouts whose input is a linear map (or its norm) and whose output goes straight into an activation.

    ## Why is this bad?
    The usual order is layer, norm, activation, dropout. Before a ReLU the two orders give the same numbers. Before
    any other activation a dropped unit does not become zero (a sigmoid makes 0.5 of it), and the units that are kept
    enter the nonlinear part scaled up by 1/(1-p).

    ## Example
        x = torch.tanh(self.drop(self.fc1(x)))

    ## Use instead
        x = self.drop(torch.tanh(self.fc1(x)))

    ## References
    - Srivastava et al.: Dropout: A Simple Way to Prevent Neural Networks from Overfitting, JMLR 2014
    """
    for dropout in graph.calls("dropout"):
        if not is_active_dropout(dropout) or dropout.is_kind("alpha-dropout") or not dropout.activations:
            continue
        layer = graph.producer(dropout.activations[0], through=SHAPE_ONLY)
        activation = _activation_behind(graph, dropout)
        if activation is None or not layer.is_kind("linear-map", "norm"):
            continue
        commutes = activation.is_kind("rectifier", "leaky")
        why = (
            "the order makes no difference to this activation, but the usual one is activation, then dropout"
            if commutes
            else f"a dropped unit is not zero after {activation.name}, and the kept ones enter it scaled up"
        )
        yield Finding(
            at=dropout,
            message=f"dropout stands between {layer.label} and its activation {activation.label}: {why}",
            evidence={"layer": layer.label, "activation": activation.label, "same_values": commutes},
            fix="apply the activation first, then the dropout",
            modules=paths([dropout, layer, activation]),
        )


def _activation_behind(graph: Graph, dropout: Op) -> Op | None:
    users = graph.consumers(dropout, through=SHAPE_ONLY)
    if len(users) == 1 and users[0].is_kind("activation") and users[0].name != "relu6":
        return users[0]
    return None
