"""JSON Lines: one object for each finding, for `grep`, `jq` and log collectors."""

from __future__ import annotations

import json

from nnlint.report import Report
from nnlint.reporters.json import plain
from nnlint.reporters.options import ReportOptions
from nnlint.reporters.rows import Row, rows


def render(report: Report, options: ReportOptions) -> str:
    """The findings with their target in the order of the report; nothing where there are none."""
    return "".join(json.dumps(_line(row), ensure_ascii=False, allow_nan=False) + "\n" for row in rows(report, options))


def _line(row: Row) -> dict[str, object]:
    head: dict[str, object] = {"target": row.target}
    if row.finding is None:
        return head | {"level": row.level.value, "message": row.message}
    found: dict[str, object] = plain(row.finding.model_dump())
    return head | found
