"""The one table behind the formats of findings: a row for each finding, and one for each target that failed without a word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from nnlint.finding import Level
from nnlint.provenance import LIBRARY_OF
from nnlint.report import Report, ReportedFinding, TargetReport
from nnlint.reporters.options import ReportOptions


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        target: what was checked.
        code, name, level, message, fix, module, fingerprint: of the finding.
        file, line: relative to the root of the options; None where the finding has no line.
        anchor: a file and line inside the root, for formats that show nothing without one: where the finding is, else the
            beginning of the target's file.
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
    anchor: tuple[str, int]
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
                (file_of(result.target, options), 1),
                None,
            )


def _row(result: TargetReport, finding: ReportedFinding, options: ReportOptions) -> Row:
    location = finding.location
    file = options.path(location.file) if location is not None else None
    line = max(location.line, 1) if location is not None else None
    is_inside = file is not None and not is_absolute(file)
    return Row(
        target=result.target,
        code=finding.code,
        name=finding.name,
        level=finding.level,
        message=finding.message,
        fix=finding.fix,
        module=finding.module,
        fingerprint=finding.fingerprint,
        file=file,
        line=line,
        anchor=(file or "", line or 1) if is_inside else (file_of(result.target, options), 1),
        finding=finding,
    )


def is_absolute(file: str) -> bool:
    """Whether a path, as the options have it, lies outside the root."""
    return PurePosixPath(file).is_absolute() or PureWindowsPath(file).is_absolute()


def file_of(target: str, options: ReportOptions) -> str:
    """The file inside the root that a target stands in; the configuration where that cannot be told (`timm:resnet18`)."""
    head = target.rpartition(".py:")[0] + ".py" if ".py:" in target else target.partition(":")[0]
    if head.endswith(".py"):
        file = options.path(head)
        return file if not is_absolute(file) else "pyproject.toml"
    if not head or head in LIBRARY_OF:
        return options.path("pyproject.toml")
    module = head.replace(".", "/")
    named = [f"{module}.py", f"{module}/__init__.py", f"src/{module}.py", f"src/{module}/__init__.py"]
    return options.path(next((name for name in named if Path(name).is_file()), named[0]))
