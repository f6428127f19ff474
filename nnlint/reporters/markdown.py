"""Markdown, for a comment on a pull request or a job summary."""

from __future__ import annotations

from collections.abc import Iterator

from nnlint.finding import Level
from nnlint.report import Report, TargetReport
from nnlint.reporters.options import ReportOptions
from nnlint.reporters.rows import Row, rows

_MARKS = {Level.ERROR: "🔴 error", Level.WARNING: "🟡 warning", Level.INFO: "🔵 info"}
_ESCAPED = str.maketrans({character: f"\\{character}" for character in r"\`*_{}[]<>#|~"})


def render(report: Report, options: ReportOptions) -> str:
    """A heading and a table for each target; fixes and further facts fold out."""
    table = list(rows(report, options))
    lines: list[str] = []
    for result in report.results:
        lines += [*_target(result, [row for row in table if row.target == result.target]), ""]
    return "\n".join(lines[:-1] or ["nothing was checked"]) + "\n"


def _target(result: TargetReport, table: list[Row]) -> Iterator[str]:
    yield f"### nnlint: {_text(result.target)}"
    yield ""
    yield _verdict(result, table)
    if table:
        yield ""
        yield "| level | rule | where | finding |"
        yield "|---|---|---|---|"
        for row in table:
            yield f"| {_MARKS[row.level]} | {_text(f'{row.code} {row.name}'.strip())} | {_text(row.place)} | {_cell(row)} |"
    if result.skipped:
        yield ""
        yield f"<details><summary>{len(result.skipped)} rules skipped</summary>"
        yield ""
        yield from (f"- {skip.code} {_text(skip.name)}: {_text(skip.reason)}" for skip in result.skipped)
        yield ""
        yield "</details>"


def _verdict(result: TargetReport, table: list[Row]) -> str:
    if result.status == "failed":
        return "**Could not be checked completely.**"
    counts = [
        f"{number} {level.value}{'s' if number != 1 else ''}"
        for level in (Level.ERROR, Level.WARNING, Level.INFO)
        if (number := sum(row.level is level for row in table))
    ]
    return f"**{', '.join(counts)}.**" if counts else "**No findings.**"


def _cell(row: Row) -> str:
    fix = f"<br>**fix** {_text(row.fix)}" if row.fix else ""
    return _text(row.message) + fix


def _text(text: str) -> str:
    """The text as it is: nothing that user code is called may become markup."""
    line = " ".join(text.translate(_ESCAPED).split())
    return "".join(character for character in line if character.isprintable())
