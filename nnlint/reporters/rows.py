"""The one table behind the formats of findings: a row for each finding, and one for each target that failed without a word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nnlint.finding import Level
from nnlint.report import Report, ReportedFinding, TargetReport
from nnlint.reporters.options import ReportOptions


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        target: what was checked.
        code, name, level, message, fix, module, fingerprint: of the finding.
        file, line: relative to the root of the options; None where the finding has no line.
        finding: all of it; None for a target that failed and says nothing else.
    """

    target: str
    code: str
    name: str
    level: Level
    message: str
    fix: str
    module: str
    fingerprint: str
    file: str | None
    line: int | None
    finding: ReportedFinding | None

    @property
    def place(self) -> str:
        """`file:line`, else the module, else the target."""
        if self.file is not None:
            return f"{self.file}:{self.line}"
        return self.module or self.target

    @property
    def text(self) -> str:
        """Message and fix, as one text of two lines."""
        return self.message + (f"\nfix: {self.fix}" if self.fix else "")


def rows(report: Report, options: ReportOptions) -> Iterator[Row]:
    """All findings in the order of the report."""
    for result in report.results:
        for finding in result.findings:
            yield _row(result, finding, options)
        if result.status == "failed" and not result.findings:
            yield Row(
                result.target,
                "",
                "",
                Level.ERROR,
                f"{result.target} could not be checked",
                "",
                "",
                "",
                None,
                None,
                None,
            )


def _row(result: TargetReport, finding: ReportedFinding, options: ReportOptions) -> Row:
    location = finding.location
    return Row(
        target=result.target,
        code=finding.code,
        name=finding.name,
        level=finding.level,
        message=finding.message,
        fix=finding.fix,
        module=finding.module,
        fingerprint=finding.fingerprint,
        file=options.path(location.file) if location is not None else None,
        line=max(location.line, 1) if location is not None else None,
        finding=finding,
    )
