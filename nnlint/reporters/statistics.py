"""Counts of the findings by rule, the most frequent first: an overview of many targets."""

from __future__ import annotations

from collections import Counter

from nnlint.finding import Level
from nnlint.report import Report
from nnlint.reporters.options import ReportOptions
from nnlint.reporters.rows import rows
from nnlint.units import counted

_ORDER = [Level.ERROR, Level.WARNING, Level.INFO]


def render(report: Report, options: ReportOptions) -> str:
    """One line for each rule and level; then how many targets were checked."""
    number_of = Counter((row.code, row.name, row.level) for row in rows(report, options))
    ordered = sorted(number_of.items(), key=lambda item: (-item[1], _ORDER.index(item[0][2]), item[0][0]))
    lines = [
        f"{number:>5}  {level.value:<7}  {code or '-'}  {name or 'not checked'}"
        for (code, name, level), number in ordered
    ]
    failed = sum(result.status == "failed" for result in report.results)
    end = f"{counted(sum(number_of.values()), 'finding')} in {counted(len(report.results), 'target')}"
    return "\n".join([*lines, end + (f", {failed} of them not checked completely" if failed else "")]) + "\n"
