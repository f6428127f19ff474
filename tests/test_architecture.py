"""The layout of the code: no circle of imports, a session that knows no probe, and one table of evidence."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nnlint
from nnlint.evidence import COSTS, HOMES, NEEDS, PROBES, TABLE, cost_of

ROOT = Path(nnlint.__file__).parent
MODULES = {".".join(("nnlint", *path.relative_to(ROOT).with_suffix("").parts)): path for path in ROOT.rglob("*.py")}
MODULES = {name.removesuffix(".__init__"): path for name, path in MODULES.items()}


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes that run: what stands under `if TYPE_CHECKING:` is for type checkers alone."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for child in node.orelse:
            yield from _statements(child)
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _statements(child)


def _imports(source: str, known: Any) -> set[str]:
    """Modules that a source file imports, at its top or in a function."""
    found = set()
    for node in _statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found & set(known)


def _graph() -> dict[str, set[str]]:
    return {name: _imports(path.read_text(encoding="utf-8"), MODULES) - {name} for name, path in MODULES.items()}


def _circle(graph: dict[str, set[str]]) -> list[str]:
    """One circle of the graph, first and last the same; empty where there is none."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        found = next(filter(None, (walk(target, [*path, name]) for target in sorted(graph.get(name, ())))), [])
        done.add(name)
        return found

    return next(filter(None, (walk(name, []) for name in sorted(graph))), [])


def test_no_import_circle_is_left_in_nnlint() -> None:
    assert len(MODULES) > 80
    assert _circle(_graph()) == []


def test_a_circle_through_a_function_is_found_and_one_for_types_is_none() -> None:
    known = {"nnlint.a", "nnlint.b"}
    inside = "def f():\n    from nnlint.b import g\n"
    for_types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nnlint.b import g\n"
    back = {"nnlint.b": _imports("import nnlint.a\n", known)}
    assert _circle({"nnlint.a": _imports(inside, known)} | back) == ["nnlint.a", "nnlint.b", "nnlint.a"]
    assert _circle({"nnlint.a": _imports(for_types, known)} | back) == []


def test_every_row_of_the_table_leads_to_its_type_and_its_provider() -> None:
    for row in TABLE.values():
        provided = row.load() if row.provider else None
        assert row.cost in COSTS
        if provided is not None:
            annotation = provided.__annotations__["return"]
            assert annotation == row.name, (row.name, annotation)


def test_all_evidence_is_importable_from_nnlint() -> None:
    for name, home in HOMES.items():
        found = getattr(nnlint, name)
        assert found.__name__ == name
        assert name in nnlint.__all__
        assert home in MODULES
    assert set(NEEDS) <= set(HOMES)


def test_type_checkers_see_what_is_exported() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert {name: seen.get(name) for name in HOMES} == dict(HOMES)
    assert seen.keys() | {"rule", "__version__"} == set(nnlint.__all__)


def test_what_needs_no_run_is_measured_before_everything_else() -> None:
    dearest = max(cost_of((row.name,)) for row in TABLE.values() if not row.probe)
    assert all(cost_of((name,)) > dearest for name in PROBES.values())
    assert cost_of(("Declared",)) < cost_of(("ForwardStats",)) < cost_of(("Mixing",)) < cost_of(("StepStats",))


@pytest.mark.parametrize("statement", ["import nnlint.evidence", "import nnlint.rule", "import nnlint.config"])
def test_the_table_imports_no_torch(statement: str) -> None:
    code = f"import sys; {statement}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
