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
#: How the dtypes of numbers begin that are no integers.
_REAL = ("float", "bfloat", "complex")


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


def arrive_as_codes(inputs: Iterable[Op], ends: Iterable[Op]) -> bool:
    """Whether codes of a quantizer, integers computed from real numbers, are all that comes from these inputs to these ops.

    While a codebook is fresh every sample gets the same code, so that nothing of an input need show there. Ids, their views, and
    positions that the model counts out are no codes.
    """
    given, last = frozenset(inputs), frozenset(ends)
    below = closure(given, lambda op: op.users)

    def is_code(op: Op) -> bool:
        whole = op.is_kind("integer") or op.dtype.startswith("int")
        return whole and op in below and op not in last and any(source.dtype.startswith(_REAL) for source in op.inputs)

    reached = closure(last, lambda op: () if is_code(op) else op.inputs)
    return not reached & given and any(map(is_code, reached))


def is_statement(location: Location | None) -> bool:
    """Whether the line holds a call that stands by itself, its result assigned to nothing."""
    return location is not None and location.line in _lone_calls(location.file)


def is_switched_on(location: Location | None) -> bool:
    """Whether a call on the line says `training=True` in so many words."""
    return location is not None and location.line in _switched_on(location.file)


@cache
def _switched_on(file: str) -> frozenset[int]:
    """Lines of calls that are given the constant True for `training`."""
    calls = [node for node in ast.walk(_parsed(file)) if isinstance(node, ast.Call)]
    return frozenset(
        line
        for node in calls
        for given in node.keywords
        if given.arg == "training" and isinstance(given.value, ast.Constant) and given.value.value is True
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    )


def _parsed(file: str) -> ast.Module:
    """The file's tree; an empty one where it does not parse."""
    try:
        return ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return ast.Module([], [])


@cache
def _lone_calls(file: str) -> frozenset[int]:
    """Lines covered by expression statements that are calls."""
    lone = [node for node in ast.walk(_parsed(file)) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)]
    return frozenset(line for node in lone for line in range(node.lineno, (node.end_lineno or node.lineno) + 1))


def short(location: Location | None) -> str:
    """`model.py:12`, for a message."""
    return location.short if location is not None else "an unknown line"


def under(path: str, module: str) -> bool:
    """Whether `path` is `module` or inside it."""
    return path == module or path.startswith(f"{module}.") or not module
