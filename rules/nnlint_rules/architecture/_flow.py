"""What becomes of values: which reach the loss or the outputs, and how a line of source treats them."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint import Graph, Location, Op

#: Stand for values, not for work done in the forward.
STATE = ("input", "parameter", "buffer", "unregistered-parameter")


def used_ops(graph: Graph) -> frozenset[Op]:
    """Ops whose value reaches the loss, an output, the module's state, or Python (a branch, a printed number)."""
    kept = {op for op in graph.ops if op.is_kept or op.is_kind("escape")}
    sinks = kept.union(graph.outputs, [graph.loss] if graph.loss is not None else [])
    return closure(sinks, lambda op: op.inputs)


def closure(start: Iterable[Op], step: Callable[[Op], Iterable[Op]]) -> frozenset[Op]:
    """The ops of `start`, and all that steps lead to from there."""
    seen: set[Op] = set()
    waiting = list(start)
    while waiting:
        op = waiting.pop()
        if op not in seen:
            seen.add(op)
            waiting.extend(step(op))
    return frozenset(seen)


def is_installed(location: Location | None) -> bool:
    """Whether a line belongs to an installed package, not to the user's own files."""
    return location is not None and ("site-packages" in location.file or "dist-packages" in location.file)


def is_statement(location: Location | None) -> bool:
    """Whether the line holds a call that stands by itself, its result assigned to nothing."""
    return location is not None and location.line in _lone_calls(location.file)


@cache
def _lone_calls(file: str) -> frozenset[int]:
    """Lines covered by expression statements that are calls."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return frozenset()
    lone = [node for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    return frozenset(line for node in lone for line in range(node.lineno, (node.end_lineno or node.lineno) + 1))


def short(location: Location | None) -> str:
    """`model.py:12`, for a message."""
    return location.short if location is not None else "an unknown line"


def under(path: str, module: str) -> bool:
    """Whether `path` is `module` or inside it."""
    return path == module or path.startswith(f"{module}.") or not module
