"""The ways from a parameter to the loss, and where a gradient that comes back on them is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint import Graph, Op


_CUTS = ("detach", "escape", "integer", "compare")


_CUSTOM = ("custom_function", "unknown")


def readers(name: str, graph: Graph) -> list[Op]:
    """The ops that read the parameter itself."""
    return [op for op in graph.ops if name in op.parameters]


def reaches_loss(name: str, graph: Graph) -> bool:
    """Whether the loss (or an output, without a loss) depends on the parameter."""
    ends = {graph.loss} if graph.loss is not None else set(graph.outputs)
    return any(op in ends or not ends.isdisjoint(graph.descendants(op)) for op in readers(name, graph))


def broken_backward(name: str, graph: Graph) -> list[Op]:
    """The custom functions in which the gradient is lost: reached from the parameter past no op that cuts, and in use.

    Torch's own differentiable operations do not lose one, so nothing else is accused.
    """
    ends = {graph.loss} if graph.loss is not None else set(graph.outputs)
    waiting, seen = list(readers(name, graph)), set()
    found = []
    while waiting:
        op = waiting.pop()
        if op in seen or _cuts(op):
            continue
        seen.add(op)
        if op.name in _CUSTOM and op.requires_grad:
            if not ends.isdisjoint({op, *graph.descendants(op)}):
                found.append(op)
            continue
        waiting.extend(op.users)
    return found


def _cuts(op: Op) -> bool:
    return op.is_kind(*_CUTS) or not op.grad_enabled


def is_cut(name: str, graph: Graph) -> bool:
    """Whether every way on ends at a cut: gradient cuts are ARC007's, and often wanted (targets, teachers)."""
    return any(_cuts(op) for reader in readers(name, graph) for op in (reader, *graph.descendants(reader)))


def shift_free(graph: Graph) -> set[str]:
    """Biases that a following norm subtracts: their gradient is zero up to rounding, and may be exactly zero."""
    found: set[str] = set()
    for op in graph.calls("linear-map"):
        if any(user.is_kind("batch-norm", "instance-norm") for user in graph.consumers(op)):
            found.update(name for name in op.parameters if name.endswith("bias"))
    return found
