"""The repository keeps its own promises: metadata of the rules, generated files, commands of the README."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import Field

from nnlint import registry
from nnlint._version import __version__
from nnlint.engine import check
from nnlint.finding import Level
from nnlint.options import Options
from nnlint.registry import Registry
from nnlint.rule import Rule
from nnlint.testing.expectations import faults, read_builds
from scripts import gen_docs, new_rule

FOLDERS = {prefix: folder for folder, prefix in (new_rule.FAMILIES | new_rule.LOOP_FAMILIES).items()}
FOLDERS["RUN"] = "run"


@pytest.fixture(scope="module")
def rules() -> Registry:
    return registry.load()


def _python(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=repository, capture_output=True, text=True, check=False, timeout=120
    )


def test_every_rule_lives_in_the_file_its_name_says(rules: Registry, repository: Path) -> None:
    for rule in rules.rules:
        stem = rule.name.replace("-", "_")
        assert Path(rule.file) == repository / "rules/nnlint_rules" / FOLDERS[rule.family] / f"{stem}.py", rule.code


def test_rules_explain_rules_that_exist(rules: Registry) -> None:
    codes = {rule.code for rule in rules.rules}
    for rule in rules.rules:
        assert set(rule.explains) <= codes - {rule.code}, rule.code


def test_rules_are_documented_in_full(rules: Registry) -> None:
    for rule in rules.rules:
        _, *sections = re.split(r"^## ", rule.doc, flags=re.MULTILINE)
        empty = [section.splitlines()[0] for section in sections if not section.partition("\n")[2].strip()]
        assert not empty, f"{rule.code}: nothing under {', '.join(empty)}"
        assert rule.summary.endswith("."), f"{rule.code}: the first line of the docstring is a sentence"


def test_every_option_says_what_it_means(rules: Registry) -> None:
    for rule in rules.rules:
        if rule.options is not None:
            assert all(rule.options.meanings().values()), f"{rule.code}: an option without description or comment"
            rule.options()  # every option has a default


@pytest.mark.parametrize("folder", ["nnlint", "rules", "scripts", "benchmarks"])
def test_modules_and_functions_are_short(repository: Path, folder: str) -> None:
    """400 lines a module; 40 lines a function, its docstring (a rule's is a page of the documentation) not counted."""
    long = []
    for file in sorted((repository / folder).rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        if len(source.splitlines()) > 400:
            long.append(f"{file}: {len(source.splitlines())} lines")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                first = node.body[0]
                page = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) and first.end_lineno else 0
                lines = (node.end_lineno or node.lineno) - node.lineno + 1 - page
                if lines > 40:
                    long.append(f"{file}:{node.lineno} {node.name}: {lines} lines")
    assert not long


def test_rule_files_are_short(repository: Path) -> None:
    """150 lines: metadata, the page, one check and its words. What a rule works out lives in a `_module` of its family."""
    files = sorted((repository / "rules/nnlint_rules").glob("[!_]*/[!_]*.py"))
    long = {file.name: lines for file in files if (lines := len(file.read_text(encoding="utf-8").splitlines())) > 150}
    assert files
    assert not long


class Thresholds(Options):
    """Options as rules write them."""

    share: float = 0.6  # of a layer's units: |x| > 0
    limit: int = Field(default=3, description="how many")


def test_meanings_of_options_come_from_descriptions_and_comments() -> None:
    assert Thresholds.meanings() == {"share": "of a layer's units: |x| > 0", "limit": "how many"}
    table = gen_docs.options_table("LOS001", Thresholds)
    assert "| `share` | `0.6` | of a layer's units: \\|x\\| > 0 |" in table


def test_rules_and_their_list_need_no_torch(repository: Path) -> None:
    code = "import sys; from nnlint import registry; registry.load(); sys.exit('torch' in sys.modules)"
    shown = _python(repository, "-c", code)
    assert shown.returncode == 0, shown.stderr or "loading the rules imported torch"


def test_rule_pages_are_fresh(repository: Path) -> None:
    shown = _python(repository, "scripts/gen_docs.py", "--check")
    assert shown.returncode == 0, shown.stderr


def test_json_schema_is_fresh(repository: Path) -> None:
    shown = _python(repository, "scripts/gen_schema.py", "--check")
    assert shown.returncode == 0, shown.stderr + shown.stdout


def test_stale_and_orphaned_pages_are_found_and_mended(tmp_path: Path) -> None:
    wanted = {"a.md": "a", "b.md": "b", "c.md": "c"}
    (tmp_path / "a.md").write_text("a")
    (tmp_path / "b.md").write_text("old")
    (tmp_path / "orphan.md").write_text("x")
    assert list(gen_docs.stale(tmp_path, wanted)) == ["b.md", "c.md", "orphan.md"]
    gen_docs.write(tmp_path, wanted)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == wanted


def _load(file: Path) -> Rule:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = vars(module.check)["__nnlint_rule__"]
    assert isinstance(made, Rule)
    return made


def test_new_rule_registers_as_asked(tmp_path: Path) -> None:
    arguments = ["LOS999", "loud-loss", "loss", "--level", "info", "--root", str(tmp_path)]
    assert new_rule.main(arguments) == 0
    made = _load(tmp_path / "rules/nnlint_rules/loss/loud_loss.py")
    assert (made.code, made.name, made.level, made.needs) == ("LOS999", "loud-loss", Level.INFO, ("graph",))
    assert {file.name for file in (tmp_path / "fixtures/loss/loud_loss").iterdir()} == {"bad.py", "good.py"}
    assert new_rule.main(arguments) == 1, "it must not overwrite"


def test_new_rule_refuses_a_code_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new_rule.main(["LOS041", "loud-loss", "loss", "--root", str(tmp_path)]) == 0
    with pytest.raises(SystemExit, match="2"):
        new_rule.main(["LOS041", "quiet-loss", "loss", "--root", str(tmp_path)])
    assert "LOS041 is loud-loss; the next free code of loss is LOS042" in capsys.readouterr().err


def test_new_rule_fires_on_its_bad_twin_alone(tmp_path: Path) -> None:
    assert new_rule.main(["LOS999", "loud-loss", "loss", "--root", str(tmp_path)]) == 0
    made = _load(tmp_path / "rules/nnlint_rules/loss/loud_loss.py")
    everything = Registry((*registry.load().rules, made))
    levels = {rule.code: rule.level for rule in everything.rules}
    for twin, expected in (("bad", 1), ("good", 0)):
        (build,) = read_builds(tmp_path / "fixtures/loss/loud_loss" / f"{twin}.py")
        assert len(build.expected) == expected
        assert not faults(build, check(build.target, build.check_settings(), registry=everything), levels)


@pytest.mark.parametrize("arguments", [["ARC999", "a-b", "loss"], ["LOS999", "A_B", "loss"], ["LOS9", "a", "loss"]])
def test_new_rule_refuses_what_the_registry_would(tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        new_rule.main([*arguments, "--root", str(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_commands_of_the_readme_exist(repository: Path) -> None:
    text = (repository / "README.md").read_text() + (repository / "CONTRIBUTING.md").read_text()
    targets = set(re.findall(r"^([a-z]+):", (repository / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)`", text)) <= targets
    for path in re.findall(r"\b(?:scripts|examples|benchmarks|docs)/[\w/.-]+\.\w+", text):
        assert (repository / path).is_file(), f"{path} is mentioned and does not exist"


def test_options_of_the_readme_are_known_to_the_command_line(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    used = set(re.findall(r"nnlint (check|rules|explain|\w+)\b[^\n`|]*?(--[a-z-]+)", text))
    assert used, "the README shows no command with an option"
    for command, option in used:
        shown = _python(repository, "-m", "nnlint", command, "--help")
        assert option in shown.stdout, f"nnlint {command} knows no {option}"


def test_changelog_knows_the_version(repository: Path) -> None:
    assert f"\n## [{__version__}]" in (repository / "CHANGELOG.md").read_text()


def test_public_names_are_what_they_say(repository: Path) -> None:
    """`nnlint.rule` is the decorator, although the module of that name is loaded first."""
    code = "import nnlint.registry; from nnlint import rule; assert callable(rule); print('ok')"
    shown = _python(repository, "-c", code)
    assert shown.stdout == "ok\n", shown.stderr
    everything = _python(repository, "-c", "import nnlint; [getattr(nnlint, name) for name in nnlint.__all__]")
    assert everything.returncode == 0, everything.stderr
