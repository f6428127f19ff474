"""Findings the user has accepted: in the configuration, in a comment of the source, or by an attribute of a module.

They are `overrides` and `expect`, `# nnlint: disable=CODE reason`, and `module.nnlint_disable = {"CODE": "reason"}`.
A suppressed finding leaves a line in the report's assumptions, so that a clean report tells what it does not show.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnlint.overrides import Override
from nnlint.report import ReportedFinding, SourceLocation, TargetReport
from nnlint.rule import Rule

#: The attribute of a module that says which findings at it are accepted, and why.
ATTRIBUTE = "nnlint_disable"
_COMMENT = re.compile(r"#\s*nnlint:\s*disable=([\w-]+(?:\s*,\s*[\w-]+)*)[ \t]*(.*)")


@dataclass(frozen=True)
class Suppressed:
    """The reports without the accepted findings, and what is to be said about the configuration's entries."""

    results: tuple[TargetReport, ...]
    warnings: tuple[str, ...]


def apply(results: Sequence[TargetReport], overrides: Sequence[Override] = ()) -> Suppressed:
    """Take the accepted findings out of the reports.

    A check that could not run (RUN codes) is never suppressed. An entry of the configuration that matches nothing is
    reported, unless a rule that it names was skipped: then nobody knows.
    """
    used: set[int] = set()
    cleaned, warnings = [], []
    for result in results:
        kept, lines = [], []
        for finding in result.findings:
            number = _override(result.target, finding, overrides)
            comment = _comment(finding) if number is None else None
            if number is not None:
                used.add(number)
                lines.append(_line(finding, overrides[number].reason))
            elif comment is not None:
                lines.append(_line(finding, comment or "no reason given"))
                warnings += [] if comment else [_unexplained(finding)]
            else:
                kept.append(_leveled(result.target, finding, overrides, used, lines))
        cleaned.append(_without(result, kept, lines))
    unused = (entry for number, entry in enumerate(overrides) if number not in used)
    return Suppressed(tuple(cleaned), (*dict.fromkeys(warnings), *_unused(unused, results)))


def _leveled(
    target: str, finding: ReportedFinding, overrides: Sequence[Override], used: set[int], lines: list[str]
) -> ReportedFinding:
    """The finding at the level that the first entry about it gives; the entry is used then, and a line says so."""
    if finding.code.startswith("RUN"):
        return finding
    for number, entry in enumerate(overrides):
        level = next((level for rule, level in entry.levels.items() if names(rule, finding.code, finding.name)), None)
        if level is not None and entry.is_about(target, finding.module):
            used.add(number)
            place = f" at {finding.module}" if finding.module else ""
            lines.append(f"{finding.code} {finding.name}{place} is reported as {level.value}: {entry.reason}")
            return finding.model_copy(update={"level": level})
    return finding


def accepted_by_modules(
    result: TargetReport, modules: Iterable[tuple[str, object]], rules: Iterable[Rule]
) -> TargetReport:
    """Take out the findings that a module of the model accepts, for itself and for what is inside it.

    `module.nnlint_disable = {"SIG001": "reason"}`. An entry that accepts no finding is reported if every rule it names
    was run and evaluated, and so is a value of another form.

    Args:
        result: the report of one target.
        modules: the paths and modules of the model.
        rules: what was run.
    """
    entries, lines = _module_entries(modules)
    used: set[int] = set()
    kept = []
    for finding in result.findings:
        inside = [number for number, entry in enumerate(entries) if _is_inside(finding.module, str(entry.module))]
        at = _override(result.target, finding, [entries[number].model_copy(update={"module": "*"}) for number in inside])
        if at is None:
            kept.append(finding)
        else:
            used.add(inside[at])
            lines.append(_line(finding, entries[inside[at]].reason))
    skipped = {rule.code for rule in result.skipped}
    judged = [rule for rule in rules if rule.code not in skipped]
    for number, entry in enumerate(entries):
        if number in used or result.status == "failed":
            continue
        named = [rule for rule in rules if names(entry.ignore[0], rule.code, rule.name)]
        if named and all(rule in judged for rule in named):
            lines.append(f"unused suppression: {entry.ignore[0]} at {entry.module or 'the model'} ({entry.reason})")
    return _without(result, kept, lines)


def _module_entries(modules: Iterable[tuple[str, object]]) -> tuple[list[Override], list[str]]:
    """What the modules accept, with their paths as they are, and what is to be said about values that say nothing."""
    entries, lines = [], []
    for path, module in modules:
        given = getattr(module, ATTRIBUTE, None)
        if given is None:
            continue
        if isinstance(given, Mapping) and all(
            isinstance(part, str) and part.strip() for pair in given.items() for part in pair
        ):
            entries += [Override(module=path, ignore=(selector,), reason=reason) for selector, reason in given.items()]
        else:
            lines.append(f"{ATTRIBUTE} of {path or 'the model'} must be a dict of rule and reason; it is ignored")
    return entries, lines


def _is_inside(path: str, owner: str) -> bool:
    return not owner or path == owner or path.startswith(f"{owner}.")


def names(selector: str, code: str, name: str) -> bool:
    """Whether a selector (a code, a prefix of codes, a name or ALL) names the rule."""
    return selector.upper() == "ALL" or code.startswith(selector.upper()) or selector.lower() == name


def _without(result: TargetReport, kept: list[ReportedFinding], lines: list[str]) -> TargetReport:
    if not lines:
        return result
    return result.model_copy(update={"findings": kept, "assumptions": [*result.assumptions, *lines]})


def _override(target: str, finding: ReportedFinding, overrides: Sequence[Override]) -> int | None:
    """Index of the first entry that accepts the finding."""
    if finding.code.startswith("RUN"):
        return None
    for number, entry in enumerate(overrides):
        named = any(names(selector, finding.code, finding.name) for selector in entry.ignore)
        if named and entry.is_about(target, finding.module):
            return number
    return None


def _comment(finding: ReportedFinding) -> str | None:
    """The reason given in a comment on the finding's line, or ""; None where no comment accepts the finding."""
    if finding.location is None or finding.code.startswith("RUN"):
        return None
    match = _COMMENT.search(_source_line(finding.location))
    if match is None or not any(names(part.strip(), finding.code, finding.name) for part in match[1].split(",")):
        return None
    return match[2].strip(" -:")


def _unexplained(finding: ReportedFinding) -> str:
    """What is said of a comment that accepts the finding and does not say why."""
    assert finding.location is not None
    place = f"{finding.location.file}:{finding.location.line}"
    return f"{place}: `# nnlint: disable={finding.code}` gives no reason: write it after the code"


@dataclass(frozen=True)
class Comment:
    """A comment that accepts findings on its line."""

    line: int
    selectors: tuple[str, ...]

    def names(self, code: str, name: str) -> bool:
        """Whether it names the rule."""
        return any(names(selector, code, name) for selector in self.selectors)


def comments_in(source: str) -> Iterator[Comment]:
    """The comments of a Python source that accept findings.

    Raises:
        SyntaxError: the source is no Python.
    """
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            match = _COMMENT.search(token.string) if token.type == tokenize.COMMENT else None
            if match is not None:
                yield Comment(token.start[0], tuple(part.strip() for part in match[1].split(",")))
    except tokenize.TokenError as error:
        raise SyntaxError(str(error)) from error


def _source_line(location: SourceLocation) -> str:
    try:
        lines = Path(location.file).read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, ValueError):
        return location.text or ""
    return lines[location.line - 1] if 0 < location.line <= len(lines) else location.text or ""


def _line(finding: ReportedFinding, reason: str) -> str:
    place = f" at {finding.module}" if finding.module else ""
    return f"{finding.code} {finding.name}{place} is suppressed: {reason}"


def _unused(entries: Iterable[Override], results: Sequence[TargetReport]) -> Iterator[str]:
    for entry in entries:
        concerned = [result for result in results if entry.covers(result.target)]
        undecided = any(
            result.status == "failed"
            or any(names(selector, rule.code, rule.name) for rule in result.skipped for selector in entry.selectors)
            for result in concerned
        )
        if concerned and not undecided:
            modules = entry.module if isinstance(entry.module, str) else ", ".join(entry.module)
            place = "" if modules == "*" else f" at {modules}"
            yield f"unused suppression: {', '.join(entry.selectors)}{place} ({entry.reason})"
