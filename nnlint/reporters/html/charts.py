"""The charts of a target as plain data: which numbers, on which axes, with which marks. The page's script draws them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from nnlint.report import ReportedFinding, TargetReport
from nnlint.reporters.html.chart_parts import Chart, label_of, layers_of
from nnlint.reporters.html.charts_by_layer import precision, scales, silent_units, update_ratios
from nnlint.reporters.html.charts_over_steps import classes, initial_loss, learning_rates, overfit, steps
from nnlint.reporters.html.related import related


def charts_of(result: TargetReport, identity: str = "target-0") -> list[Chart]:
    """All charts that the report has numbers for, in the order in which they are shown.

    Args:
        result: the target.
        identity: of its section in the page, to which the findings of a chart lead.
    """
    measured = result.measurements
    makers: tuple[Callable[[TargetReport, Mapping[str, Any]], Chart | None], ...] = (
        scales,
        silent_units,
        update_ratios,
        initial_loss,
        steps,
        overfit,
        learning_rates,
        classes,
        precision,
    )
    found = related(result)
    charts = [chart for make in makers if (chart := make(result, measured)) is not None]
    return [_with_findings(chart, result, found.get(chart["id"], []), identity) for chart in charts]


def _with_findings(
    chart: Chart, result: TargetReport, found: Iterable[tuple[int, ReportedFinding]], identity: str
) -> Chart:
    """The chart with its findings marked and listed: those of its layers, and those that judge what it shows."""
    at = chart.pop("anchor", None)
    marked = {mark["label"] for mark in chart["marks"]}
    own = {number: finding for number, finding in enumerate(result.findings) if label_of(finding) in marked}
    judging = {number: finding for number, finding in found if number not in own}
    if at is not None:
        chart["marks"] += [{"x": at, "label": label_of(f), "level": f.level.value} for f in judging.values()]
    chart["findings"] = [
        {"label": label_of(finding), "level": finding.level.value, "href": f"#{identity}-finding-{number}"}
        for number, finding in sorted((own | judging).items())
    ]
    return chart


def histograms_of(result: TargetReport) -> list[dict[str, list[int]]]:
    """The histograms of each row of the layer table, as they were measured."""
    return [dict(row.get("histograms", {})) for row in layers_of(result.measurements)]


def sparkline(counts: Sequence[int], width: int = 64, height: int = 16) -> str:
    """The path of a small area chart of counts, for an SVG of `width` x `height`; empty without counts."""
    peak = max(counts, default=0)
    if not peak:
        return ""
    step = width / len(counts)
    points = [
        f"{index * step:.1f},{height - height * math.sqrt(count / peak):.1f}" for index, count in enumerate(counts)
    ]
    return f"M0,{height} L" + " L".join(points) + f" L{width},{height} Z"
