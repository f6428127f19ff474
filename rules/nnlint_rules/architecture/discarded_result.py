"""ARC002: a result that is computed and thrown away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nnlint import Finding, Level, Skip, rule
from nnlint_rules.architecture._flow import STATE, is_statement, short, used_ops

if TYPE_CHECKING:
    from nnlint import Graph, Op

#: Hand a value on; an unused one of these costs nothing.
_COPIES = ("view", "index", "cast", "identity", "detach", "factory", "random")
#: Parameter-free layers whose call as a statement of its own does nothing.
_LAYERS = ("activation", "dropout", "norm", "pool", "softmax")


@rule("ARC002", "discarded-result", level="error", since="0.1")
def check(graph: Graph) -> Iterator[Finding]:
    """The result of a layer that never reaches the output or the loss.

    ## What it does
    Walks the recorded graph back from the loss, the outputs, values stored in the module and values read by Python (a branch).
    An operation that reads parameters and is not met was computed for nothing: its tensor was not passed on. A parameter-free
    layer (activation, dropout, normalization, pooling) is reported where its call stands as a statement of its own. An info
    where the value was returned beside others by a module whose caller did not need it, where another call of the same layer is
    used (the last step of a loop), or inside a model library.

    ## Why is this bad?
    The layer has no effect and is never trained, while the code reads as if it had.

    ## Example
        x = self.conv1(x)
        F.relu(x)                        # not in place: the result is lost
        h = self.fc1(x)
        return self.fc2(x)               # h is forgotten

    ## Use instead
        x = F.relu(self.conv1(x))
        h = self.fc1(x)
        return self.fc2(h)

    ## References
    - PyTorch: `torch.nn.functional.relu`, argument `inplace`
    """
    if graph.method == "symbolic":
        raise Skip("no recorded run: a value stored in the module cannot be told from a lost one")
    used = used_ops(graph)
    lost = [op for op in graph.ops if op not in used and not op.is_kind(*STATE) and not op.in_loss]
    found = [op for op in lost if _is_work(op)]
    groups = [(op, graph.descendants(op)) for op in found]
    for op, below in groups:
        if below.isdisjoint(found):
            chain = [other for other, after in groups if op in after]
            yield _finding(op, chain, _weakness(op, below, graph, used))


def _is_work(op: Op) -> bool:
    if op.is_kind(*_COPIES) or op.in_place:
        return False
    return bool(op.parameters) or (op.is_kind(*_LAYERS) and op.requires_grad and is_statement(op.call_location))


def _weakness(op: Op, below: frozenset[Op], graph: Graph, used: frozenset[Op]) -> str:
    """Why the loss of the value may be meant; empty where nothing speaks for it."""
    if any(item.is_one_of_several for item in {op, *below}):
        return "it is returned beside other values that are used"
    if graph.facts.is_of_library(op.call_location):
        return "in a model library"
    again = [other for other in graph.of_module(op.module_path) if other.name == op.name and other in used]
    if op.module_path and again:
        return "another call of the layer is used"
    return ""


def _finding(op: Op, chain: list[Op], weak: str) -> Finding:
    where = short(op.location)
    statement = is_statement(op.call_location)
    return Finding(
        at=op,
        message=f"the result of {op.label} ({where}) reaches neither an output nor the loss{weak and f' ({weak})'}: "
        + ("the return value is discarded" if statement else "it is computed but never used"),
        evidence={"lost_operations": len(chain) + 1, "shape": list(op.shape or ()), "reads": list(op.parameters)},
        fix=f"assign the result and use it (`x = ...` in {where}), or remove the call",
        level=Level.INFO if weak else None,
        modules=tuple(dict.fromkeys(other.module_path for other in chain if other.module_path)),
        confidence="low" if weak else "high",
    )
