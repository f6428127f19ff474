"""The layout of the code: no circle of imports, a session that knows no probe, and one table of evidence."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nnlint
from nnlint import registry
from nnlint.evidence import COSTS, HOMES, NEEDS, OBSERVED, PROBES, TABLE, cost_of
from nnlint.rule import RuleError

ROOT = Path(nnlint.__file__).parent
MODULES = {".".join(("nnlint", *path.relative_to(ROOT).with_suffix("").parts)): path for path in ROOT.rglob("*.py")}
MODULES = {name.removesuffix(".__init__"): path for name, path in MODULES.items()}


#: What stands under these is for type checkers alone, or for a process of which the file is the program.
_FOR_OTHERS = ("TYPE_CHECKING", "__name__ == '__main__'")


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes that run when the module is imported or used."""
    if isinstance(node, ast.If) and ast.unparse(node.test) in _FOR_OTHERS:
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
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from package import submodule` asks the package for nothing of its own.
            found |= submodules if submodules <= set(known) else submodules | {node.module}
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
            assert annotation == row.name or row.name in OBSERVED, (row.name, annotation)


def test_all_evidence_is_importable_from_nnlint() -> None:
    for name, home in HOMES.items():
        found = getattr(nnlint, name)
        assert found is not None
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


# -------------------------------------------------------------------- the graph of causes


def test_the_graph_of_causes_reaches_the_rules() -> None:
    from nnlint_rules.causes import CAUSES

    rules = {rule.code: set(rule.explains) for rule in registry.load().rules}
    assert all(set(codes) <= rules[code] for code, codes in CAUSES.items())


RULE = '''
from nnlint import rule

@rule("{code}", "{name}", level="info", since="1.0", explains={explains})
def check(graph: "Graph"):
    """A rule.

    ## What it does
    ## Why is this bad?
    ## Example
    ## Use instead
    ## References
    """
    yield from ()
'''


def _pack(folder: Path, causes: str, charts: str = "") -> object:
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "one.py").write_text(RULE.format(code="AAA001", name="one", explains=["GRD001"]), encoding="utf-8")
    (folder / "two.py").write_text(RULE.format(code="AAA002", name="two", explains=[]), encoding="utf-8")
    if causes:
        (folder / "causes.py").write_text(causes, encoding="utf-8")
    if charts:
        (folder / "charts.py").write_text(charts, encoding="utf-8")
    return importlib.import_module(folder.name)


def test_a_pack_says_what_its_rules_explain_in_a_module_or_in_the_decorator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    plain = registry._rules_in(_pack(tmp_path / "plain_pack", ""))
    assert {rule.code: rule.explains for rule in plain} == {"AAA001": ("GRD001",), "AAA002": ()}
    both = registry._rules_in(
        _pack(tmp_path / "pack_with_causes", "CAUSES = {'AAA001': ('AAA002', 'GRD001'), 'AAA002': ['SIG004']}")
    )
    assert {rule.code: rule.explains for rule in both} == {"AAA001": ("GRD001", "AAA002"), "AAA002": ("SIG004",)}
    with pytest.raises(RuleError, match="pack_with_a_typo.causes: AAA003 is not a rule of this pack"):
        registry._rules_in(_pack(tmp_path / "pack_with_a_typo", "CAUSES = {'AAA003': ('AAA001',)}"))


def test_a_pack_says_which_charts_show_what_its_rules_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    pack = registry._rules_in(_pack(tmp_path / "pack_with_charts", "", "CHARTS = {'layers': ('AAA',), 'steps': ['AAA002']}"))
    assert {rule.code: rule.charts for rule in pack} == {"AAA001": ("layers",), "AAA002": ("layers", "steps")}
    with pytest.raises(RuleError, match="pack_with_no_such_rule.charts: AAB is not a rule of this pack"):
        registry._rules_in(_pack(tmp_path / "pack_with_no_such_rule", "", "CHARTS = {'layers': ('AAB',)}"))
