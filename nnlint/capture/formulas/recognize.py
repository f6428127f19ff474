"""Marks the nodes of a recorded graph that complete a formula: to a rule, they are the op of torch that does the same."""

from __future__ import annotations

from torch import fx

from nnlint.capture.formulas.activations import activation
from nnlint.capture.formulas.losses import loss_formulas
from nnlint.capture.formulas.reading import Formula


def recognize(graph: fx.Graph) -> None:
    """Mark every written-out softmax, log-softmax, sigmoid, then every written-out loss; they are built on the former."""
    nodes = [node for node in graph.nodes if node.op in ("call_function", "call_method")]
    for node in nodes:
        found = activation(node)
        if found is not None:
            _mark(node, found)
    for node in nodes:
        if "formula" not in node.meta and (made := loss_formulas(node)) is not None and "formula" not in made[0].meta:
            _mark(*made)


def _mark(node: fx.Node, formula: Formula) -> None:
    node.meta.update(formula=formula, written_as=node.meta["name"], name=formula.name)
