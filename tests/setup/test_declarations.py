"""Traits and tasks: words that rules read, and none that nobody does."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from torch import nn

import nnlint
from nnlint.setup import SetupError, coerce
from nnlint.setup.declarations import TASKS, TRAITS


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({"declared": {"stochastik"}}, "stochastic"),
        ({"declared": "set_input"}, "set-input"),
        ({"declared": ("time-major", "monte carlo dropout")}, "monte-carlo-dropout"),
        ({"task": "clasification"}, "classification"),
        ({"task": "language_modeling"}, "language-modeling"),
    ],
)
def test_a_misspelt_word_is_an_error_that_names_the_nearest(fields, meant) -> None:
    with pytest.raises(ValueError, match=f"did you mean '{meant}'"):
        nnlint.TrainingSetup(model=nn.Linear(2, 2), **fields)
    with pytest.raises(SetupError, match=f"did you mean '{meant}'"):
        coerce({"model": nn.Linear(2, 2), **fields})


def test_known_words_and_those_of_a_rule_pack_are_taken() -> None:
    setup = nnlint.TrainingSetup(model=nn.Linear(2, 2), declared={*TRAITS, "mypack:own"}, task="regression")
    assert "mypack:own" in setup.declared


def _words(file: Path) -> set[str]:
    """String constants beside `declared.traits` or `declared.task`, and in the sets that are named beside them."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    sets = {
        target.id: {
            item.value
            for item in ast.walk(node.value)
            if isinstance(item, ast.Constant) and isinstance(item.value, str)
        }
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        text = ast.unparse(node) if isinstance(node, (ast.Compare, ast.BinOp, ast.Call)) else ""
        if (
            any(f"declared.{name}" in text or text.endswith(" in traits") for name in ("traits", "task"))
            and len(text) < 120
        ):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    found.add(part.value)
                elif isinstance(part, ast.Name):
                    found |= sets.get(part.id, set())
    return found


def test_every_word_that_a_rule_reads_is_known(repository: Path) -> None:
    read = set().union(*(_words(file) for file in (repository / "rules").rglob("*.py")))
    assert {"stochastic", "slot-attention", "ordinal", "set-input", "one-vs-rest"} <= read
    assert read <= set(TRAITS) | set(TASKS)


def test_every_trait_and_task_is_documented(repository: Path) -> None:
    lines = set((repository / "docs/reference/build-fn.md").read_text(encoding="utf-8").splitlines())
    assert {f"| `{word}` | {meaning} |" for table in (TRAITS, TASKS) for word, meaning in table.items()} <= lines
