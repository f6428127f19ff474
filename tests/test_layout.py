"""Where things lie: what rules may import, which files nnlint has, and where the tests of each are."""

from __future__ import annotations

import ast
import re
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


#: Families whose rules judge what a training script did: their tests are scripts that share their parts.
LOOPS = {
    "step": "tests/loops",
    "evaluation": "tests/loops/test_evaluation.py",
    "distributed": "tests/loops/test_ranks.py",
}
#: Rules whose tests are elsewhere, because they are those of the measurement, of another rule's programs, or of the command.
ELSEWHERE = {
    "ARC032": "tests/probes/dependence/test_padding.py",
    "GRD002": "tests/rules/gradient/test_flow.py",
    "LOS028": "tests/idioms/faulty_padding.py",
    "LOS029": "tests/probes/dependence/test_labels.py",
    "LOS030": "tests/idioms/faulty_labels.py",
    "RUN003": "tests/rules/loss/test_refused_losses.py",
    "RUN004": "tests/rules/run/test_forward_failed.py",
    "RUN006": "tests/probes/longer/test_budget.py",
    "RUN009": "tests/cli/test_worker.py",
    "RUN010": "tests/guard/test_hostile_code.py",
    "RUN011": "tests/observe/test_run.py",
    "RUN012": "tests/observe/test_run.py",
    "SIG007": "tests/rules/architecture/test_dropout_always_on.py",
}


def test_tests_of_a_rule_are_found_by_its_name(repository: Path) -> None:
    """In tests/rules/<family>/test_<rule_name>.py, or where the tables above say."""
    from nnlint import registry

    lost, stale = [], []
    for rule in registry.load().rules:
        file = Path(rule.file)
        own = repository / "tests" / "rules" / file.parent.name / f"test_{file.stem}.py"
        named = ELSEWHERE.get(rule.code, LOOPS.get(file.parent.name, ""))
        if own.exists():
            stale += [rule.code] if named else []
        elif not named or not _mentions(repository / named, rule.code):
            lost.append(f"{rule.code} {rule.name}: no {own.relative_to(repository)}")
    assert (lost, stale) == ([], [])


def _mentions(place: Path, code: str) -> bool:
    files = [place] if place.is_file() else sorted(place.glob("*.py"))
    return any(code in file.read_text(encoding="utf-8") for file in files)


def test_every_file_of_nnlint_is_in_the_layout(repository: Path) -> None:
    """docs/explanation/architecture.md names each package, and each module beside the packages; and nothing that is not there."""
    page = (repository / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    rows = page.partition("## What is in nnlint/")[2].partition("\n## ")[0].splitlines()
    cells = [[cell.strip() for cell in row.split("|")[1:3]] for row in rows if row.startswith("| `")]
    named = {name for place, _ in cells for name in re.findall(r"`([^`]+)`", place)}
    named |= {f"probes/{name}" for place, said in cells if place == "`probes/`" for name in re.findall(r"`(\w+/)`", said)}
    root = repository / "nnlint"
    files = {file.relative_to(root) for file in root.rglob("*.py")}
    packages = {f"{file.parent.as_posix()}/" for file in files if file.parent != Path()}
    modules = {file.name for file in files if file.parent == Path()}
    assert named == packages | modules
