"""Whether the code that a forward can reach names a module at all: no input and no branch leads to one that it does not name."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnlint import Model, ModuleView

#: Ways to a module that name none: a walk over all of them.
_WALKS = ("children", "modules", "__dict__", "vars", "get_submodule")  # and what ends like it: named_children
def may_be_reached(view: ModuleView, model: Model) -> bool:
    """Whether a forward of the model's classes, or a function that one calls, names the module or reaches modules without names.

    True where code cannot be read, and for the numbered children of containers.
    """
    leaf = view.module_path.rpartition(".")[2]
    if not leaf.isidentifier():
        return True
    owner = model.find(view.module_path.rpartition(".")[0])
    seen: set[int] = set()
    for other in model.modules:
        for function in _reached(other, seen):
            tree = _tree(function)
            if tree is None or _names(tree, leaf, walks=other is owner):
                return True
    return False


def _reached(view: ModuleView, seen: set[int]) -> Iterator[Callable[..., Any]]:
    """The forward of a module outside torch, and what it names: its methods, functions it holds, functions of the same file."""
    waiting = [_function(view.attribute("forward"))]
    while waiting:
        function = waiting.pop()
        if function is None or id(function) in seen or str(function.__module__).partition(".")[0] == "torch":
            continue
        seen.add(id(function))
        yield function
        for name in function.__code__.co_names:
            held = view.attribute(name) if not name.startswith("__") else None
            waiting += [_function(held), _function(function.__globals__.get(name))]
        waiting += [_function(cell.cell_contents) for cell in function.__closure__ or () if cell != types.CellType()]


def _function(value: Any) -> Any:
    """The Python function that calling a value runs; None for modules, builtins and what else has no code to read."""
    while isinstance(value, functools.partial):
        value = value.func
    function = inspect.unwrap(getattr(value, "__func__", value)) if callable(value) else None
    return function if inspect.isfunction(function) else None


def _tree(function: Callable[..., Any]) -> ast.AST | None:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None


def _names(tree: ast.AST, leaf: str, *, walks: bool) -> bool:
    """Whether the code names an attribute or a string `leaf`, or, of the module's owner, takes attributes by computed names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (node.attr == leaf or (walks and node.attr.endswith(_WALKS))):
            return True
        if isinstance(node, ast.Constant) and node.value == leaf:
            return True
        computed = isinstance(node, ast.Call) and _called(node) in ("getattr", "vars") and not _is_constant(node.args[1:2])
        if walks and computed:
            return True
    return False


def _called(node: ast.Call) -> str:
    function = node.func
    return function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""


def _is_constant(arguments: list[ast.expr]) -> bool:
    return bool(arguments) and isinstance(arguments[0], ast.Constant)
