"""Reading recorded graphs, for the tests of the capture."""

from __future__ import annotations

from nnlint.capture.graph import Graph
from nnlint.capture.op import Op


def upstream(graph: Graph) -> set[Op]:
    """Every op that the outputs depend on, the outputs included."""
    return set(graph.outputs).union(*(graph.ancestors(output) for output in graph.outputs))


def names(graph: Graph) -> list[str]:
    """Canonical names of the ops that are neither inputs nor parameters."""
    return [op.name for op in graph.ops if not op.is_kind("input", "parameter", "buffer")]
