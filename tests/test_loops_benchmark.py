"""The benchmark of training loops on two of its scripts: every fault that can be put into them is named, the scripts are silent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import loop_operators_data, loop_operators_state
from benchmarks.loop_operators import OPERATORS
from benchmarks.loop_page import is_diagnosed, loud, page
from benchmarks.loop_script import Script
from nnlint import registry

assert loop_operators_data
assert loop_operators_state

#: One script of plain functions, and one whose trainer is a class.
CHOSEN = ("multi_eval", "trainer_class")
FAULTS = "STP00[1-6]|STP016|STP018|EVL00[134]"


@pytest.fixture(scope="module")
def rows(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the benchmark says of the chosen scripts and of a part of their mutants."""
    out = tmp_path_factory.mktemp("loops") / "rows.jsonl"
    command = [sys.executable, repository / "benchmarks" / "loops.py", "--only", ",".join(CHOSEN), "--operator", FAULTS]
    options = ["--per-operator", "2", "--no-measure", "--parts", "healthy,mutants", "--out", out]
    names = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*map(str, (*command, *options))], env=names, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_healthy_scripts_are_silent(rows: list[dict[str, Any]]) -> None:
    healthy = [row for row in rows if row["kind"] == "healthy"]
    assert {row["script"] for row in healthy} == set(CHOSEN)
    assert [(row["script"], loud(row), row["error"]) for row in healthy if loud(row) or row["error"]] == []


def test_each_fault_is_named_at_its_line(rows: list[dict[str, Any]]) -> None:
    rules = {rule.code: (rule.name, rule.level.value) for rule in registry.load().rules}
    made = [row for row in rows if row["kind"] == "mutant"]
    assert {row["codes"][0] for row in made} >= {"STP001", "STP002", "STP003", "STP004", "STP005", "STP006", "STP018", "EVL001"}
    missed = [(row["operator"], row["script"], row["findings"]) for row in made if not is_diagnosed(row, rules)]
    assert missed == []


def test_the_page_counts_what_was_missed() -> None:
    rules = {"STP001": ("gradients-not-cleared", "error")}
    mutant = {"kind": "mutant", "script": "a", "operator": "cut", "codes": ["STP001"], "lines": [4], "error": ""}
    found = {"code": "STP001", "level": "error", "line": 4, "message": "m"}
    rows = [mutant | {"findings": [found]}, mutant | {"findings": [found | {"line": 5}]}, mutant | {"findings": []}]
    text = page(rows, rules)
    assert "| error | 3 | 66.7% | 33.3% | 33.3% | 95% |" in text
    assert text.count("- STP001, cut, a (lines 4)") == 2


def test_an_operator_knows_the_line_of_its_fault() -> None:
    source = "for x in loader:\n    opt.zero_grad()\n    loss = f(net(x))\n    loss.backward()\n    opt.step()\n"
    found = {one.name: list(one.mutants(Script("s", source))) for one in OPERATORS}
    (moved,) = found["zero_grad() between backward() and step()"]
    assert moved.source.splitlines()[3] == "    opt.zero_grad()"
    assert moved.lines == {4}
    (deleted,) = found["zero_grad() deleted"]
    assert "zero_grad" not in deleted.source
    assert deleted.lines == {3, 4}
