"""Every rule's twins: bad.py fires this rule alone, good.py passes with all rules on; and the reference nets."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnlint import registry
from nnlint.engine import check
from nnlint.rule import Rule
from nnlint.testing.expectations import Build, faults, read_builds
from scripts.new_rule import FAMILIES

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
FOLDERS = {prefix: folder for folder, prefix in FAMILIES.items()}

RULES = [rule for rule in registry.load().rules if rule.family in FOLDERS]
LEVELS = {rule.code: rule.level for rule in registry.load().rules}
ARTICLE = [build for file in sorted((FIXTURES / "article").glob("[!_]*.py")) for build in read_builds(file)]


def _twin(rule: Rule, which: str) -> Path:
    return FIXTURES / FOLDERS[rule.family] / rule.name.replace("-", "_") / f"{which}.py"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_bad_twin_fires_this_rule_alone(rule: Rule) -> None:
    for build in read_builds(_twin(rule, "bad")):
        assert rule.code in {wanted.code for wanted in build.expected}, f"{build.target} does not expect {rule.code}"
        assert not faults(build, check(build.target, build.check_settings()), LEVELS), build.target


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_good_twin_is_silent_with_all_rules_on(rule: Rule) -> None:
    for build in read_builds(_twin(rule, "good")):
        assert not build.expected, f"{build.target}: a good twin expects no finding"
        report = check(build.target, build.check_settings())
        assert not faults(build, report, LEVELS), build.target
        assert [found.message for found in report.findings if found.code == rule.code] == [], build.target
        skipped = [item.reason for item in report.skipped if item.code == rule.code and rule.code not in build.skipped]
        assert skipped == [], f"{build.target}: a rule that could not run is not silent"


@pytest.mark.parametrize("build", ARTICLE, ids=lambda build: f"{build.file.stem}-{build.function}")
def test_reference_net(build: Build) -> None:
    assert build.silent != bool(build.expected), f"{build.target} says neither `expect:` nor `silent`, or both"
    assert not faults(build, check(build.target, build.check_settings()), LEVELS), build.target


def test_no_fixture_is_left_without_its_rule() -> None:
    known = {_twin(rule, "bad").parent for rule in RULES}
    files = [file for folder in FAMILIES for file in FIXTURES.glob(f"{folder}/*/*.py")]
    folders = {file.parent for file in files if file.name in {"bad.py", "good.py"}}
    assert folders - known == set()
