"""The comments that fixtures carry: what a check of their build functions must say.

    # expect: CODE [LEVEL] [at MODULE], ...   this finding is there; without LEVEL at the rule's own, with a bare `at`
                                              at the model itself, without `at` anywhere
    # skipped: CODE [part of the reason]      the rule is skipped, for a reason that holds this text
    # silent                                  no finding at warning or above (said where nothing else is)
    # settings: key=value, ...                CheckSettings, as a TOML inline table (`deep=true`)

A comment belongs to the build function whose `def` line or body it is on, or that it stands directly above; in a file
with one build function, anywhere.
"""

from __future__ import annotations

import ast
import importlib
import io
import re
import sys
import tokenize
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnlint.config import CheckSettings
from nnlint.finding import Level
from nnlint.report import ReportedFinding, TargetReport

#: The standard library's parser from Python 3.11 on, its backport before; by name, so that type checkers need only one.
_TOML = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

_DIRECTIVE = re.compile(r"#\s*(expect|skipped|settings):\s*(.*)$|#\s*(silent)\s*$")
_EXPECT = re.compile(r"([A-Z]{3}\d{3})(?:\s+(error|warning|info))?(?:\s+(at)(?:\s+(\S+))?)?")
_SKIPPED = re.compile(r"([A-Z]{3}\d{3})\s*(.*)")


@dataclass(frozen=True)
class Expected:
    """A finding that must be there. `level` None: the rule's own. `module` None: anywhere."""

    code: str
    level: Level | None = None
    module: str | None = None

    def matches(self, finding: ReportedFinding, own_level: Level) -> bool:
        """Whether a finding of a rule with this own level is the expected one."""
        return (
            finding.code == self.code
            and finding.level is (self.level or own_level)
            and (self.module is None or finding.module == self.module)
        )

    def __str__(self) -> str:
        level = f" {self.level.value}" if self.level else ""
        return f"{self.code}{level}" + ("" if self.module is None else f" at {self.module}".rstrip())


@dataclass
class Build:
    """One build function of a fixture file and what its comments say."""

    file: Path
    function: str
    line: int
    end: int
    expected: list[Expected] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    silent: bool = False

    @property
    def target(self) -> str:
        """The target string of the build function."""
        return f"{self.file}:{self.function}"

    def check_settings(self) -> CheckSettings:
        """The settings that the comments ask for."""
        return CheckSettings(**self.settings)


def read_builds(file: Path) -> list[Build]:
    """The build functions of a file with their comments; a comment nobody can own, or in bad form, is an error."""
    text = file.read_text(encoding="utf-8")
    builds = [
        Build(file, node.name, node.lineno, node.end_lineno or node.lineno)
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("build")
    ]
    if not builds:
        raise ValueError(f"{file}: no function named build...")
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        found = _DIRECTIVE.search(token.string) if token.type == tokenize.COMMENT else None
        if found:
            _note(_owner(builds, lines, token.start[0], file), found.group(1) or found.group(3), found.group(2) or "")
    return builds


def _owner(builds: list[Build], lines: list[str], line: int, file: Path) -> Build:
    if len(builds) == 1:
        return builds[0]
    for build in builds:
        above = lines[line : build.line - 1]  # between the comment's line and the def line
        if build.line <= line <= build.end or (line < build.line and all(_passes_over(text) for text in above)):
            return build
    raise ValueError(f"{file}:{line}: this comment stands at none of the build functions")


def _passes_over(text: str) -> bool:
    return text.lstrip().startswith(("#", "@"))


def _note(build: Build, kind: str, text: str) -> None:
    where = f"{build.file}: {build.function}"
    if kind == "silent":
        build.silent = True
    elif kind == "settings":
        build.settings |= _TOML.loads(f"settings = {{{text}}}")["settings"]
    elif kind == "skipped":
        match = _SKIPPED.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{where}: `skipped: {text}` is not `skipped: CODE reason`")
        build.skipped[match.group(1)] = match.group(2)
    else:
        for part in text.split(","):
            match = _EXPECT.fullmatch(part.strip())
            if match is None:
                raise ValueError(f"{where}: `expect: {part.strip()}` is not `expect: CODE [LEVEL] [at MODULE]`")
            code, level, at, module = match.groups()
            build.expected.append(Expected(code, Level(level) if level else None, (module or "") if at else None))


def faults(build: Build, report: TargetReport, levels: dict[str, Level]) -> list[str]:
    """How a report departs from what the fixture says; `levels` are the rules' own levels by code."""
    found = [f"{item.level.value} {item.code} at {item.module!r}: {item.message}" for item in report.findings]
    said = [
        f"expected {wanted}, found {found or 'nothing'}"
        for wanted in build.expected
        if not any(wanted.matches(finding, levels[wanted.code]) for finding in report.findings)
    ]
    said += [
        f"unexpected {shown}"
        for finding, shown in zip(report.findings, found, strict=True)
        if finding.level.at_least(Level.WARNING)
        and not any(wanted.matches(finding, levels[wanted.code]) for wanted in build.expected)
    ]
    if report.status != "ok" and not any(wanted.code.startswith("RUN") for wanted in build.expected):
        said.append(f"status {report.status}")
    reasons = {skipped.code: skipped.reason for skipped in report.skipped}
    said += [
        f"expected {code} to be skipped because of {text!r}, got {reasons.get(code, 'an evaluation')!r}"
        for code, text in build.skipped.items()
        if text not in reasons.get(code, "") or code not in reasons
    ]
    said += [f"{wanted.code} skipped: {reasons[wanted.code]}" for wanted in build.expected if wanted.code in reasons]
    return said
