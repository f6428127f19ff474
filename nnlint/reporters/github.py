"""GitHub Actions workflow commands: findings as annotations of the changed files."""

from __future__ import annotations

from collections.abc import Iterator

from nnlint.finding import Level
from nnlint.report import Report, ReportedFinding
from nnlint.reporters.options import ReportOptions

_COMMANDS = {Level.ERROR: "error", Level.WARNING: "warning", Level.INFO: "notice"}


def render(report: Report, options: ReportOptions) -> str:
    """One workflow command for each finding, and one for each target that failed without saying why."""
    lines = [line for result in report.results for line in _commands(result.target, result.findings, options)]
    lines += [
        f"::error title=nnlint::{_data(result.target)} could not be checked"
        for result in report.results
        if result.status == "failed" and not result.findings
    ]
    return "".join(f"{line}\n" for line in lines)


def _commands(target: str, findings: list[ReportedFinding], options: ReportOptions) -> Iterator[str]:
    for finding in findings:
        properties = {"title": f"{finding.code} {finding.name}"}
        if finding.location is not None:
            properties = {
                "file": options.path(finding.location.file),
                "line": str(finding.location.line),
                **properties,
            }
        listed = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
        place = f"{target} {finding.module}".strip()
        text = f"{finding.message} [{place}]" + (f"\nfix: {finding.fix}" if finding.fix else "")
        yield f"::{_COMMANDS[finding.level]} {listed}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
