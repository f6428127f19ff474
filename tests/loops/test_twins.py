"""The twins of the loop rules: bad.py is found by its rule alone, at the line it says; good.py is silent."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nnlint import Level, registry
from nnlint.rule import Rule
from scripts.new_rule import LOOP_FAMILIES
from tests.loops.running import findings

#: What the scripts themselves are warned of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

FIXTURES = Path(__file__).resolve().parent.parent.parent / "fixtures"
FOLDERS = {prefix: folder for folder, prefix in LOOP_FAMILIES.items() if folder != "distributed"}
RULES = [rule for rule in registry.load().rules if rule.family in FOLDERS]


def _twin(rule: Rule, which: str) -> str:
    return (FIXTURES / FOLDERS[rule.family] / rule.name.replace("-", "_") / f"{which}.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_bad_twin_fires_this_rule_alone(rule: Rule) -> None:
    source = _twin(rule, "bad")
    wanted = {
        (code, number)
        for number, line in enumerate(source.splitlines(), 1)
        for code in re.findall(r"# expect: (\w+)", line)
    }
    found = findings(source)
    assert {code for code, _ in wanted} == {rule.code}
    assert {
        (item.code, item.line) for item in found if item.level.at_least(Level.WARNING) or item.code == rule.code
    } == wanted


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_good_twin_is_silent(rule: Rule) -> None:
    found = findings(_twin(rule, "good"))
    assert [item for item in found if item.level.at_least(Level.WARNING) or item.code == rule.code] == []


def test_no_twin_is_left_without_its_rule() -> None:
    known = {(FOLDERS[rule.family], rule.name.replace("-", "_")) for rule in RULES}
    folders = {
        (file.parent.parent.name, file.parent.name)
        for name in FOLDERS.values()
        for file in FIXTURES.glob(f"{name}/*/*.py")
    }
    assert folders == known
