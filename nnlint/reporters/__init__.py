"""The formats of a report: each is one module with a pure function `render(report, options) -> str`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnlint.report import Report
    from nnlint.reporters.options import ReportOptions

#: Module of each format. Names only: `nnlint --help` lists the formats and imports none of them.
REPORTERS: Mapping[str, str] = MappingProxyType(
    {
        "text": "nnlint.reporters.text",
        "json": "nnlint.reporters.json",
        "sarif": "nnlint.reporters.sarif",
        "github": "nnlint.reporters.github",
        "gitlab": "nnlint.reporters.gitlab",
        "junit": "nnlint.reporters.junit",
        "markdown": "nnlint.reporters.markdown",
        "jsonl": "nnlint.reporters.jsonl",
        "html": "nnlint.reporters.html",
        "statistics": "nnlint.reporters.statistics",
    }
)


def render(name: str, report: Report, options: ReportOptions) -> str:
    """The report in the format of this name, with a newline at its end."""
    reporter: Callable[[Report, ReportOptions], str] = importlib.import_module(REPORTERS[name]).render
    return reporter(report, options)
