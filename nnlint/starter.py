"""What a Python file offers to a check: build functions, models, or a script that trains. Reads the source, runs nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Beginnings of names that people give to functions that make a model or a training setup.
_BUILDERS = ("build", "make_", "create_", "get_model", "get_net", "setup")
_MODULES = ("Module", "LightningModule", "PreTrainedModel")
_FOLDERS = frozenset({"tests", "test", "docs", "build", "dist", "node_modules", "site-packages"})
#: Files that are read at most: the first look at a repository has to be quick.
_MOST_FILES = 500


@dataclass(frozen=True)
class Offer:
    """What a file offers.

    Attributes:
        file: as it was given.
        targets: `file:attribute`, most promising first.
        trains: the file itself runs a training (`backward()`, `fit(...)`, `train()` of a trainer).
    """

    file: Path
    targets: tuple[str, ...]
    trains: bool


def offer_of(file: Path) -> Offer:
    """Read one file.

    Raises:
        SyntaxError: the file is no Python.
        OSError: it cannot be read.
    """
    tree = ast.parse(file.read_text(encoding="utf-8", errors="replace"), filename=str(file))
    builders = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and _builds(node)]
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef) and _is_model(node)]
    named = builders or classes
    return Offer(file, tuple(f"{file.as_posix()}:{name}" for name in named), _trains(tree))


def offers_below(folder: Path) -> Iterator[Offer]:
    """The files of a folder that offer something, without tests and hidden folders."""
    files = (file for file in sorted(folder.rglob("*.py")) if not _is_hidden(file.relative_to(folder)))
    for file, _ in zip(files, range(_MOST_FILES), strict=False):
        try:
            offer = offer_of(file)
        except (SyntaxError, OSError, ValueError):
            continue
        if offer.targets or offer.trains:
            yield offer


def _is_hidden(file: Path) -> bool:
    return any(part.startswith(".") or part in _FOLDERS for part in file.parts)


def _builds(node: ast.FunctionDef) -> bool:
    """Whether a function is called like a builder, returns something and can be called without arguments."""
    arguments = node.args
    required = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
    required += sum(default is None for default in arguments.kw_defaults)
    returns = any(isinstance(inner, ast.Return) and inner.value is not None for inner in ast.walk(node))
    return node.name.startswith(_BUILDERS) and not required and returns


def _is_model(node: ast.ClassDef) -> bool:
    return any(_last_name(base).endswith(_MODULES) for base in node.bases)


def _trains(tree: ast.Module) -> bool:
    calls = {
        inner.func.attr
        for inner in ast.walk(tree)
        if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute)
    }
    return (
        "backward" in calls
        or ("fit" in calls and _mentions(tree, "Trainer"))
        or ("train" in calls and _mentions(tree, "Trainer"))
    )


def _mentions(tree: ast.Module, name: str) -> bool:
    return any(isinstance(inner, ast.Call) and _last_name(inner.func) == name for inner in ast.walk(tree))


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
