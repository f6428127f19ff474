"""Output layers that share their matrix with an embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnlint.kinds import VALUE_PRESERVING

if TYPE_CHECKING:
    from nnlint import Graph, Op


def tied_heads(graph: Graph) -> dict[Op, set[str]]:
    """The matrix products whose matrix is read as an embedding as well, with the names of these weights."""
    embeddings = {name for op in graph.calls("embedding") for name in op.parameters}
    products = graph.calls("linear-map", "matmul") if embeddings else ()
    return {op: names for op in products if (names := embeddings & _factors(op, graph))}


def _factors(op: Op, graph: Graph) -> set[str]:
    """The parameters that the op multiplies with, as they are or turned: `h @ embedding.weight.t()`."""
    sources = (graph.producer(source) for source in op.inputs)
    turned = (name for source in sources if source.is_kind(*VALUE_PRESERVING) for name in source.parameters)
    return {*op.parameters, *turned}
