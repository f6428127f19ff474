"""Models as people write them: healthy ones are silent at warning and above, and each fault is found at its place.

The place is the module that an expectation names (`# expect: LOS002 at head`), or the line marked `# <- LOS002`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from nnlint import registry
from nnlint.engine import check
from nnlint.evidence import TABLE
from nnlint.finding import Level
from nnlint.report import TargetReport
from nnlint.testing.expectations import Build, faults, read_builds
from tests.libraries import library

FOLDER = Path(__file__).resolve().parent
#: The library that the models of a file are written with.
NEEDED = {"lightning": "lightning", "transformers": "transformers", "peft": "peft"}
RULES = {rule.code: rule for rule in registry.load().rules}
LEVELS = {code: rule.level for code, rule in RULES.items()}
#: Errors that no model can be written for, and why.
NO_IDIOM = {
    "RUN001": "the target is not there: no model to speak of (tests/setup)",
    "RUN005": "no input is given and none can be inferred (tests/setup)",
    "RUN006": "the limit is the caller's (tests/rules/run, tests/cli)",
    "RUN009": "the process has to die for it (tests/cli)",
    "RUN013": "the state guard has to be broken for it (tests/rules/run)",
    "RUN007": "a rule has to be broken for it (tests/rules/run, tests/cli)",
    "RUN011": "a training script is observed for it (tests/observe)",
    "RUN012": "a training script is observed for it (tests/observe)",
}
#: Where the rules that judge an observed training script have their idioms: those are scripts, and no models.
LOOPS = FOLDER.parent / "loops"
_MARK = re.compile(r"# <- ([A-Z0-9 ]+)")
#: Idioms that each other error needs.
LEAST = 2


def _builds(kind: str) -> list[Build]:
    return [build for file in sorted(FOLDER.glob(f"{kind}_*.py")) for build in read_builds(file)]


def _name(build: Build) -> str:
    return f"{build.file.stem.partition('_')[2]}-{build.function.removeprefix('build_')}"


def _report(build: Build) -> TargetReport:
    for part, name in NEEDED.items():
        if part in build.file.stem:
            library(name)
    return check(build.target, build.check_settings())


def _misplaced(build: Build, report: TargetReport) -> Iterator[str]:
    """Findings on a line of the file that carries no `# <- CODE` for them, beside or above, where no module is expected."""
    lines = build.file.read_text(encoding="utf-8").splitlines()
    anywhere = {wanted.code for wanted in build.expected if wanted.module is None}
    for finding in report.findings:
        place = finding.location
        if place is None or finding.code not in anywhere or Path(place.file).name != build.file.name:
            continue
        beside, above = lines[place.line - 1], lines[place.line - 2].strip()
        marks = _MARK.findall(beside) + (_MARK.findall(above) if above.startswith("#") else [])
        if not any(finding.code in mark.split() for mark in marks):
            yield f"{finding.code} at line {place.line}: {beside.strip()}"


@pytest.mark.parametrize("build", _builds("healthy"), ids=_name)
def test_healthy(build: Build) -> None:
    assert not build.expected, "a healthy idiom expects no finding"
    assert faults(build, _report(build), LEVELS) == []


@pytest.mark.parametrize("build", _builds("faulty"), ids=_name)
def test_faulty(build: Build) -> None:
    assert build.expected, "a faulty idiom says what is expected"
    report = _report(build)
    assert faults(build, report, LEVELS) == []
    assert list(_misplaced(build, report)) == []


def test_every_error_is_found_in_two_idioms_at_least() -> None:
    counts = Counter(code for build in _builds("faulty") for code in _errors_expected(build))
    errors = {code for code, level in LEVELS.items() if level is Level.ERROR}
    expected = errors - NO_IDIOM.keys() - _codes_of_scripts()
    assert {code: counts[code] for code in sorted(expected) if counts[code] < LEAST} == {}
    assert errors >= NO_IDIOM.keys()


def test_every_error_about_a_training_script_is_found_in_the_loops() -> None:
    scripts = "".join(file.read_text(encoding="utf-8") for file in sorted(LOOPS.glob("test_*.py")))
    errors = {code for code in _codes_of_scripts() if LEVELS[code] is Level.ERROR}
    assert len(errors) > LEAST
    assert {code for code in errors if f'"{code}"' not in scripts} == set()


def _codes_of_scripts() -> set[str]:
    """Codes of the rules that need evidence which only `nnlint run` has."""
    return {
        code
        for code, rule in RULES.items()
        if any(
            TABLE[kind].provider.endswith(":unobserved")
            for name, kind in rule.evidence.items()
            if name not in rule.optional
        )
    }


def _errors_expected(build: Build) -> set[str]:
    """Codes that the idiom expects as an error: a milder finding does not prove the error."""
    return {wanted.code for wanted in build.expected if (wanted.level or LEVELS[wanted.code]) is Level.ERROR}
