"""GitHub Actions workflow commands: findings as annotations of the changed files."""

from __future__ import annotations

from nnlint.finding import Level
from nnlint.report import Report
from nnlint.reporters.options import ReportOptions
from nnlint.reporters.rows import Row, rows

_COMMANDS = {Level.ERROR: "error", Level.WARNING: "warning", Level.INFO: "notice"}


def render(report: Report, options: ReportOptions) -> str:
    """One workflow command for each row."""
    return "".join(f"{_command(row)}\n" for row in rows(report, options))


def _command(row: Row) -> str:
    if row.finding is None:
        return f"::error title=nnlint::{_data(row.message)}"
    properties = {"title": f"{row.code} {row.name}"}
    if row.file is not None:
        properties = {"file": row.file, "line": str(row.line), **properties}
    listed = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    place = f"{row.target} {row.module}".strip()
    text = f"{row.message} [{place}]" + (f"\nfix: {row.fix}" if row.fix else "")
    return f"::{_COMMANDS[row.level]} {listed}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
