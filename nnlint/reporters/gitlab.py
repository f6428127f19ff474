"""GitLab's code quality report: a JSON array of issues, shown in merge requests."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from nnlint.finding import Level
from nnlint.report import Report
from nnlint.reporters.options import ReportOptions
from nnlint.reporters.rows import Row, rows

_SEVERITIES = {Level.ERROR: "major", Level.WARNING: "minor", Level.INFO: "info"}


def render(report: Report, options: ReportOptions) -> str:
    """One issue for each row. GitLab wants a path and a line everywhere: a finding without one is put at the target's file."""
    return json.dumps([_issue(row) for row in rows(report, options)], indent=2, ensure_ascii=False) + "\n"


def _issue(row: Row) -> dict[str, Any]:
    file, line = row.anchor
    identity = row.fingerprint or hashlib.sha256(f"{row.target}\0{row.code}\0{row.message}".encode()).hexdigest()[:16]
    return {
        "description": f"{row.code} {row.name}: {row.message}".strip(": ") + (f" Fix: {row.fix}" if row.fix else ""),
        "check_name": f"{row.code} {row.name}".strip() or "nnlint",
        "fingerprint": identity,
        "severity": "blocker" if row.finding is None or row.code.startswith("RUN") else _SEVERITIES[row.level],
        "location": {"path": file, "lines": {"begin": line}},
    }
