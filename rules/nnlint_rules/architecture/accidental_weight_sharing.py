"""ARC017: one layer where several were meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, rule
from nnlint_rules.architecture._flow import under

if TYPE_CHECKING:
    from nnlint import Declared, Graph, Model, ModuleView, Op

_DECLARED = frozenset({"weight-sharing", "tied-weights"})


@rule("ARC017", "accidental-weight-sharing", level="warning", since="0.1")
def check(graph: Graph, model: Model, declared: Declared) -> Iterator[Finding]:
    """The same layer registered under several names and applied one after the other.

    ## What it does
    Reports a module with parameters that is registered at several places of one container (`[layer] * n`) and whose calls
    follow each other in the data flow. Registered under different attributes, it is an info: sharing looks meant there. Layers
    called side by side (an embedding of encoder and decoder, siamese towers) are left alone, and so is what is declared with
    `declared={"weight-sharing"}`.

    ## Why is this bad?
    `[layer] * n` repeats the reference, not the layer: a model written with n layers has the weights of one.

    ## Example
        layer = nn.Linear(64, 64)
        self.layers = nn.Sequential(*[layer] * 4)

    ## Use instead
        self.layers = nn.Sequential(*[nn.Linear(64, 64) for _ in range(4)])

    ## References
    - Python FAQ: How do I create a multidimensional list? (a multiplied list repeats references)
    - Lan et al., 2020, arXiv:1909.11942, for sharing on purpose
    """
    if not declared.traits.isdisjoint(_DECLARED):
        return
    for view in model.shared:
        owned = any(under(other.module_path, view.module_path) and other.parameters for other in model.modules)
        if owned and not _is_part_of_shared(view, model) and _in_sequence(view, graph):
            yield _finding(view, graph)


def _is_part_of_shared(view: ModuleView, model: Model) -> bool:
    """Whether the sharing is only that of a module around it."""
    above = model.find(view.module_path.rpartition(".")[0])
    return above is not None and bool(above.module_path) and len(above.paths) >= len(view.paths)


def _in_sequence(view: ModuleView, graph: Graph) -> bool:
    """Whether one call of the module depends on another: the same layer stacked on itself."""
    calls: list[Op] = [op for op in graph.ops if view.module_path in op.modules and op.parameters and not op.in_loss]
    if graph.module_calls.get(view.module_path, 0) < 2 or not calls:
        return False
    first = calls[0]
    again = [op for op in calls[1:] if op.name == first.name and op.parameters == first.parameters]
    return first in again or not graph.descendants(first).isdisjoint(again)


def _finding(view: ModuleView, graph: Graph) -> Finding:
    containers = {path.rpartition(".")[0] for path in view.paths}
    listed = len(containers) == 1 and all(path.rpartition(".")[2].isdigit() for path in view.paths)
    calls = graph.module_calls.get(view.module_path, 0)
    return Finding(
        at=view,
        message=f"{', '.join(view.paths[:4])} are the same {view.type_name}, applied {calls} times in sequence: "
        f"{len(view.paths)} layers share one set of weights",
        evidence={"paths": list(view.paths), "calls": calls},
        fix="make the layers in a comprehension (`[make() for _ in range(n)]`) or with copy.deepcopy; "
        "declared={'weight-sharing'} if it is intended",
        level=None if listed else Level.INFO,
        modules=tuple(view.paths),
    )
