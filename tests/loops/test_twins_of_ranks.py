"""The twins of the rules of several ranks, each run by two gloo processes: bad.py is found by its rule alone, good.py is silent.

One helper process imports torch once and forks the ranks of each twin with the environment that torchrun gives them; a twin that does
not end within the helper's limit counts as failed. tests/loops/test_ranks.py starts torchrun itself.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nnlint import registry
from nnlint.rule import Rule

#: Each twin needs two processes: one test process runs them one after another.
pytestmark = pytest.mark.xdist_group("ranks")

ROOT = Path(__file__).resolve().parents[2]
TWINS = ROOT / "fixtures" / "distributed"
RULES = [rule for rule in registry.load().rules if rule.family == "DST"]
HELPER = """
import json, sys
from pathlib import Path
from benchmarks.loop_runs import Job, judged
files = sorted(Path(sys.argv[1]).glob("*/*.py"))
jobs = [Job(f"{file.parent.name}/{file.stem}", file.read_text(), ranks=2) for file in files]
print(json.dumps({result.name: [result.findings, result.error] for result in judged(jobs, workers=1)}))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    """What a run of each twin reports: its findings, and the output of one that could not be judged."""
    roots = os.pathsep.join(map(str, (ROOT, ROOT / "rules")))
    names = {**os.environ, "PYTHONPATH": roots, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", HELPER, str(TWINS)], env=names, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _findings(said: dict[str, Any], rule: Rule, which: str) -> set[tuple[str, int | None]]:
    """Code and line of what is reported at warning or above, or by this rule."""
    findings, error = said[f"{rule.name.replace('-', '_')}/{which}"]
    assert error == ""
    return {
        (item["code"], item["location"]["line"] if item["location"] else None)
        for item in findings
        if item["level"] != "info" or item["code"] == rule.code
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_bad_twin_fires_this_rule_alone(rule: Rule, said: dict[str, Any]) -> None:
    source = (TWINS / rule.name.replace("-", "_") / "bad.py").read_text(encoding="utf-8")
    wanted = {
        (code, number)
        for number, line in enumerate(source.splitlines(), 1)
        for code in re.findall(r"# expect: (\w+)", line)
    }
    assert {code for code, _ in wanted} == {rule.code}
    assert _findings(said, rule, "bad") == wanted


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_good_twin_is_silent(rule: Rule, said: dict[str, Any]) -> None:
    assert _findings(said, rule, "good") == set()


def test_no_twin_is_left_without_its_rule() -> None:
    known = {rule.name.replace("-", "_") for rule in RULES}
    assert {file.parent.name for file in TWINS.glob("*/*.py")} == known
