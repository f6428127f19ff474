"""What a script is still to do: train once more (a student after its teacher, a second stage), evaluate in the loop that is running."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterable, Iterator
from types import FrameType

from nnlint.observation.trainers import FITS, Names

#: Methods that make an update together: an attack on the inputs, a map of gradients has no step.
_UPDATE = frozenset({"backward", "step"})
#: Calls that begin an evaluation.
_EVALUATES = frozenset({"eval", "no_grad", "inference_mode", "set_grad_enabled"})
#: Functions that call functions are followed so far.
_DEPTH = 4


def trains_later(frames: Iterable[FrameType]) -> bool:
    """Whether a statement after those that are running trains.

    Args:
        frames: the running frames of the script, in any order. What follows inside a loop runs in each of its iterations, and is no
            later training.
    """
    for frame in frames:
        tree = _tree_of(frame.f_code.co_filename)
        if tree is None:
            continue
        functions = _functions_of(tree)
        later = list(_after(_body_of(tree, frame), frame.f_lineno))
        names = Names.of({**frame.f_globals, **frame.f_locals}, later)
        called = {name for part in later for name in _called(part, functions, names, _DEPTH)}
        if called >= _UPDATE or called & FITS:
            return True
    return False


def evaluates_around(frames: Iterable[FrameType]) -> bool:
    """Whether a loop that is running changes to evaluation, itself or by functions of its file: `eval()`, `no_grad()`.

    Args:
        frames: the running frames of the script, in any order.
    """
    for frame in frames:
        tree = _tree_of(frame.f_code.co_filename)
        if tree is None:
            continue
        functions = _functions_of(tree)
        for loop in _loops_around(_body_of(tree, frame), frame.f_lineno):
            if any(name in _EVALUATES for name in _names_in(loop, functions, _DEPTH)):
                return True
    return False


def _loops_around(body: list[ast.stmt], line: int) -> Iterator[ast.stmt]:
    """The loops of a function that a line is in."""
    for node in (inner for statement in body for inner in ast.walk(statement)):
        if isinstance(node, (ast.For, ast.AsyncFor, ast.While)) and node.lineno <= line <= (node.end_lineno or 0):
            yield node


def _names_in(node: ast.AST, functions: dict[str, list[ast.FunctionDef]], depth: int) -> Iterator[str]:
    """The names of all that some code calls, and of the decorators of the functions among it."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            yield name
            for found in functions.get(name, []) if depth else []:
                yield from _names_in(found, functions, depth - 1)


def _tree_of(file: str) -> ast.Module | None:
    source = "".join(linecache.getlines(file))
    try:
        return ast.parse(source) if source else None
    except (SyntaxError, ValueError):
        return None


def _functions_of(tree: ast.Module) -> dict[str, list[ast.FunctionDef]]:
    """The functions and methods of a file by name."""
    found: dict[str, list[ast.FunctionDef]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, []).append(node)
    return found


def _body_of(tree: ast.Module, frame: FrameType) -> list[ast.stmt]:
    """The statements of the function that a frame runs; of the file for a frame of the module."""
    name, first = frame.f_code.co_name, frame.f_code.co_firstlineno
    if name == "<module>":
        return tree.body
    for found in _functions_of(tree).get(name, []):
        if first in range(min([found.lineno, *(made.lineno for made in found.decorator_list)]), found.lineno + 1):
            return found.body
    return []


def _after(body: list[ast.stmt], line: int) -> Iterator[ast.stmt]:
    """The statements that run after the line once: those inside a loop around it are left out."""
    for position, statement in enumerate(body):
        if not statement.lineno <= line <= (statement.end_lineno or statement.lineno):
            continue
        yield from body[position + 1 :]
        if not isinstance(statement, (ast.For, ast.AsyncFor, ast.While)):
            for inner in ("body", "orelse", "finalbody", "handlers"):
                parts = [part for part in getattr(statement, inner, []) if isinstance(part, ast.stmt)]
                yield from _after(parts, line)


def _called(node: ast.AST, functions: dict[str, list[ast.FunctionDef]], names: Names, depth: int) -> Iterator[str]:
    """The methods of an update that code calls, itself or by functions of the file; what it only defines is not run."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
        return
    if isinstance(node, ast.Call):
        is_method = isinstance(node.func, ast.Attribute)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if (is_method and name in _UPDATE) or names.trains(node):
            yield name
        for found in functions.get(name, []) if depth else []:
            inner = Names.of(names.live, found.body)
            for statement in found.body:
                yield from _called(statement, functions, inner, depth - 1)
    for child in ast.iter_child_nodes(node):
        yield from _called(child, functions, names, depth)
