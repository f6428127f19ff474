"""What a model of a library was given by its authors: its user usually loads weights over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint import Graph, Op


def initialized_by_library(op: Op, graph: Graph) -> bool:
    """Whether the layer was built, and so initialized, by the library that the model comes from: not a head of the user's.

    Where it was built is not known of a model that is handed over built: then the model's class speaks for its layers.
    """
    return graph.facts.library and (op.construction is None or graph.facts.is_of_library(op.construction))
