"""`rules`, `explain`, `--help`, `--version`, and what they import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nnlint._version import __version__
from nnlint.cli import main
from nnlint.cli.catalogue import load_cards
from nnlint.cli.rules import table as rules_table
from nnlint.registry import Registry
from nnlint.rule import RuleError


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_rules_as_text(stub):
    done = run("rules")
    assert done.exit_code == 0
    assert [line.split()[:3] for line in done.stdout.splitlines()] == [
        ["code", "name", "level"],
        ["LOS001", "softmax-before-cross-entropy", "error"],
        ["LOS018", "initial-loss", "warning"],
        ["SIG001", "dead-units", "warning"],
    ]


def test_rules_fit_into_a_terminal():
    cards = load_cards()
    for width in (80, 120):
        assert max(map(len, rules_table(list(cards), width).splitlines())) <= width
    assert len(rules_table(list(cards), None).splitlines()) == len(cards) + 1  # in a pipe a line for each rule, for grep


def test_rules_as_json(stub):
    first, *_ = json.loads(run("rules", "--format", "json").stdout)
    assert {key: value for key, value in first.items() if key != "doc"} == {
        "code": "LOS001",
        "name": "softmax-before-cross-entropy",
        "level": "error",
        "needs": ["graph"],
        "since": "0.1",
        "summary": "Softmax before a cross-entropy.",
    }
    assert "## Use instead" in first["doc"]


EXPLAINED = """\
LOS018 initial-loss
Initial loss.

level warning; needs graph; since 0.1

What it does
Looks.

Why is this bad?
It hurts.

Example
    bad()

Use instead
    good()

References
- none

Options
    [tool.nnlint.rules.LOS018]
    share = 0.5
    min_samples = 32
"""


@pytest.mark.parametrize("wanted", ["LOS018", "los018", "initial-loss"])
def test_explain(stub, wanted):
    assert run("explain", wanted).stdout == EXPLAINED


def test_explain_names_the_symptoms(stub):
    assert "lists findings of GRD001" in run("explain", "LOS001").stdout


def test_explain_an_unknown_rule(stub):
    done = run("explain", "dead-unit")
    assert (done.exit_code, done.stderr) == (2, "Error: unknown rule 'dead-unit'; did you mean dead-units?\n")


@pytest.mark.parametrize("arguments", [["rules"], ["explain", "LOS001"], ["check", "m:f"]])
def test_no_rules_and_broken_packs_are_refused(monkeypatch, arguments):
    monkeypatch.setattr("nnlint.cards._indexed", lambda spec: None)
    monkeypatch.setattr("nnlint.registry.load", lambda: Registry(()))
    empty = run(*arguments)
    assert (empty.exit_code, empty.stdout) == (2, "")
    assert "no rules are installed" in empty.stderr

    def broken() -> Registry:
        raise RuleError("rule pack 'core' cannot be imported")

    monkeypatch.setattr("nnlint.registry.load", broken)
    failed = run(*arguments)
    assert (failed.exit_code, failed.stderr) == (2, "Error: rule pack 'core' cannot be imported\n")


def test_version():
    assert run("--version").stdout == f"nnlint, version {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["--help"], ["torch", "tabulate", "nnlint.engine", "nnlint.config"]),
        (["check", "--help"], ["torch", "tabulate", "nnlint.engine", "nnlint.config"]),
        (["rules"], ["torch"]),
        (["rules", "--format", "json"], ["torch"]),
        (["explain", "LOS001"], ["torch"]),
        (["explain", "no-such-rule"], ["torch"]),
        (["check"], ["torch"]),
    ],
)
def test_nothing_heavy_is_imported(repository: Path, tmp_path: Path, arguments, absent):
    code = (
        "import sys, click\n"
        "from nnlint.cli import main\n"
        f"sys.path[:0] = [{str(repository)!r}, {str(repository / 'rules')!r}]\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        f"print([name for name in {absent!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(repository), "PATH": ""},
    )
    assert done.stderr.splitlines()[-1] == "[]", done.stderr


def test_python_dash_m(repository: Path):
    done = subprocess.run(
        [sys.executable, "-m", "nnlint", "--version"], capture_output=True, text=True, check=True, cwd=repository
    )
    assert done.stdout == f"nnlint, version {__version__}\n"
