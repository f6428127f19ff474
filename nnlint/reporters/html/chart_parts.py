"""What every chart is made of: its words, series, marks and lines, and the numbers read from the measurements."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nnlint.finding import Level
from nnlint.report import ReportedFinding, TargetReport
from nnlint.reporters.html.related import findings_by_layer

Chart = dict[str, Any]

#: A point of a series: None leaves a gap.
Point = float | None


class Text(NamedTuple):
    """What is written at a chart; the identity names it in the page."""

    identity: str
    title: str
    caption: str


def drawn(
    text: Text,
    x: dict[str, Any],
    y: dict[str, Any],
    series: list[dict[str, Any]],
    *,
    marks: Iterable[dict[str, Any]] = (),
    lines: Iterable[dict[str, Any]] = (),
    bands: Iterable[dict[str, Any]] = (),
    anchor: float | None = None,
) -> Chart | None:
    """A chart, or None where no series has a number; findings about the whole of it are marked at the anchor."""
    shown = [item for item in series if any(value is not None for value in item["values"])]
    if not shown:
        return None
    return {
        "id": text.identity,
        "title": text.title,
        "caption": text.caption,
        "x": x,
        "y": y,
        "series": shown,
        "marks": list(marks),
        "lines": list(lines),
        "bands": list(bands),
        "anchor": anchor,
    }


def series_of(name: str, values: Sequence[Point], *, kind: str = "line") -> dict[str, Any]:
    """One line, bar row or cloud of points of a chart."""
    return {"name": name, "values": list(values), "kind": kind}


def line_at(value: object, label: str) -> dict[str, Any] | None:
    """A level line; None without a value."""
    found = number(value)
    return {"y": found, "label": label} if found is not None else None


def marks_of(result: TargetReport, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Where the findings are: the positions of their layers; those of further layers are drawn fainter."""
    return [
        {
            "x": position,
            "label": label_of(finding),
            "level": finding.level.value,
            **({"further": True} if _is_further(finding, rows[position]) else {}),
        }
        for position, finding in findings_by_layer(result.findings, rows)
        if finding.level is not Level.INFO
    ]


def _is_further(finding: ReportedFinding, row: Mapping[str, Any]) -> bool:
    first = finding.module or next(iter(finding.modules), "")
    return bool(first) and row.get("layer") != first


def layers_of(measured: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of the layer table."""
    return [row for row in measured.get("layers") or [] if isinstance(row, Mapping)]


def column(rows: Iterable[Mapping[str, Any]], key: str) -> list[Point]:
    """One number of each row."""
    return [number(row.get(key)) for row in rows]


def numbers(values: object) -> list[Point]:
    """The values as finite numbers; None for anything else; empty for what is no list."""
    return [number(value) for value in values] if isinstance(values, (list, tuple)) else []


def number(value: object) -> Point:
    """The value as a finite number; None for anything else, which leaves a gap."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def label_of(finding: ReportedFinding) -> str:
    """How a finding is called in a chart."""
    return f"{finding.code} {finding.name}"
