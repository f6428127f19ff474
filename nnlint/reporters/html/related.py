"""Which findings belong to which chart: those whose rule measures what the chart shows, as its pack says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nnlint import registry
from nnlint.finding import Level
from nnlint.report import ReportedFinding, TargetReport


def related(result: TargetReport) -> dict[str, list[tuple[int, ReportedFinding]]]:
    """By chart: the warnings and errors of the rules that measure what it shows, with their numbers in the report."""
    shown = [(number, found) for number, found in enumerate(result.findings) if found.level is not Level.INFO]
    charts = registry.load().charts if shown else {}
    by_chart: dict[str, list[tuple[int, ReportedFinding]]] = defaultdict(list)
    for number, found in shown:
        for chart in charts.get(found.code, ()):
            by_chart[chart].append((number, found))
    return by_chart


def findings_by_layer(
    findings: Iterable[ReportedFinding], rows: Sequence[Mapping[str, Any]]
) -> list[tuple[int, ReportedFinding]]:
    """Each finding with the positions of the layers that it is about, in the order of the findings.

    A layer is known by its module; a function that the model itself calls, by its line.
    """
    return [
        (position, finding)
        for finding in findings
        for position, row in enumerate(rows)
        if _is_about(finding, row)
    ]


def _is_about(finding: ReportedFinding, row: Mapping[str, Any]) -> bool:
    name, line = str(row.get("layer") or ""), row.get("line")
    if name and name in {finding.module, *finding.modules}:
        return True
    place = finding.location
    return bool(line) and not finding.module and place is not None and line == f"{place.file}:{place.line}"
