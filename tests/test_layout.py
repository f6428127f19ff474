"""Where things lie: what rules may import, which files nnlint has, and where the tests of each are."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

#: What a rule may import of nnlint; everything else may change without notice.
PUBLIC = {"nnlint", "nnlint.kinds"}


def _imports(file: Path) -> Iterator[tuple[int, str]]:
    """Line and module of every import, those for type checkers and in functions included."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            if node.module == "nnlint":
                yield from (
                    (node.lineno, f"nnlint.{alias.name}" if alias.name == "kinds" else "nnlint") for alias in node.names
                )
            else:
                yield node.lineno, node.module
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)


def test_rules_import_public_names_alone(repository: Path) -> None:
    found = [
        f"{file.relative_to(repository)}:{line} imports {module}"
        for folder in ("rules", "examples")
        for file in sorted((repository / folder).rglob("*.py"))
        for line, module in _imports(file)
        if module.partition(".")[0] == "nnlint"
        and module not in PUBLIC | ({"nnlint.testing"} if "tests" in file.parts else set())
    ]
    assert found == []


def test_public_names_are_listed(repository: Path) -> None:
    """Every name that a rule imports from `nnlint` is in `__all__`."""
    import nnlint

    names = {
        alias.name
        for file in (repository / "rules").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "nnlint"
        for alias in node.names
    }
    assert names - set(nnlint.__all__) <= {"kinds"}
