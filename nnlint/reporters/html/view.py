"""What the page shows of one target, as plain values: the template only lays them out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnlint.finding import Level
from nnlint.report import ReportedFinding, TargetReport
from nnlint.reporters.excerpt import source_lines
from nnlint.reporters.html.charts import histograms_of, sparkline
from nnlint.reporters.html.operations import neighbourhood
from nnlint.reporters.html.related import findings_by_layer
from nnlint.reporters.html.timeline import timeline_view
from nnlint.reporters.html.words import shown
from nnlint.reporters.json import plain
from nnlint.reporters.options import ReportOptions

View = dict[str, Any]

_COLUMNS = (
    ("std", "std"),
    ("zeros", "zeros"),
    ("dead", "dead"),
    ("saturated", "saturated"),
    ("gradient", "gradient"),
    ("update", "update / weight"),
)

def target_view(result: TargetReport, index: int, options: ReportOptions) -> View:
    """Everything about one target; `index` makes its element ids unique on the page."""
    return {
        "id": f"target-{index}",
        "name": result.target,
        "verdict": verdict(result),
        "level": _worst(result),
        "subject": [(key, shown(value)) for key, value in result.subject.items() if value not in (None, "")],
        "assumptions": result.assumptions,
        "findings": [_finding(finding, number, result, options) for number, finding in enumerate(result.findings)],
        "skipped": result.skipped,
        "timeline": timeline_view(result, f"target-{index}"),
        "layers": _layer_table(result),
        "tree": module_tree(result),
        "timings": [(name, f"{seconds:.3g}") for name, seconds in result.timings.items()],
    }


def verdict(result: TargetReport) -> str:
    """The result in one line."""
    if result.status == "failed":
        return "The check could not be completed."
    counts = [
        f"{number} {level.value}{'s' if number != 1 else ''}"
        for level in (Level.ERROR, Level.WARNING, Level.INFO)
        if (number := result.count(level))
    ]
    if not counts:
        return "No findings."
    first = next((finding for finding in result.findings if finding.level is not Level.INFO), result.findings[0])
    return f"{', '.join(counts)}. First: {first.code} {first.name}{f' at {first.module}' if first.module else ''}."


def _worst(result: TargetReport) -> str:
    if result.status == "failed":
        return Level.ERROR.value
    levels = [level for level in (Level.ERROR, Level.WARNING, Level.INFO) if result.count(level)]
    return levels[0].value if levels else "clean"


# ---------------------------------------------------------------- findings


def _finding(finding: ReportedFinding, number: int, result: TargetReport, options: ReportOptions) -> View:
    location = finding.location
    return {
        "number": number,
        "code": finding.code,
        "name": finding.name,
        "level": finding.level.value,
        "message": finding.message,
        "module": finding.module,
        "modules": finding.modules,
        "place": f"{options.path(location.file)}:{location.line}" if location is not None else "",
        "function": (location.function or "") if location is not None else "",
        "excerpt": [
            {"number": line, "text": text, "here": line == location.line}
            for line, text in sorted(source_lines(location).items())
        ]
        if location is not None
        else [],
        "evidence": [(key, shown(value)) for key, value in finding.evidence.items()],
        "fix": finding.fix,
        "symptoms": finding.symptoms,
        "trace": finding.trace or "",
        "histograms": _first_with_histograms(finding, result),
        "around": neighbourhood(finding, result.measurements.get("operations") or []),
    }


def _first_with_histograms(finding: ReportedFinding, result: TargetReport) -> str:
    """The first layer of the finding that the layer table has histograms of."""
    rows = [row for row in result.measurements.get("layers") or [] if isinstance(row, Mapping)]
    drawn = {str(row.get("layer", "")) for row in rows if row.get("histograms")}
    return next((path for path in (finding.module, *finding.modules) if path and path in drawn), "")


# ---------------------------------------------------------------- layers and modules


def _layer_table(result: TargetReport) -> View:
    rows = [row for row in result.measurements.get("layers") or [] if isinstance(row, Mapping)]
    columns = [(key, title) for key, title in _COLUMNS if any(row.get(key) is not None for row in rows)]
    marked: dict[int, str] = {}
    for position, finding in findings_by_layer(result.findings, rows):
        marked[position] = _graver(marked.get(position, ""), finding.level.value)
    drawn = histograms_of(result)
    return {
        "columns": [title for _, title in columns],
        "drawn": any(drawn),
        "rows": [
            {
                "name": str(row.get("layer", "")),
                "op": str(row.get("op", "")),
                "level": marked.get(position, ""),
                "cells": [shown(row.get(key)) for key, _ in columns],
                "sparks": {name: sparkline(counts) for name, counts in histograms.items()},
                "histograms": plain(histograms),
            }
            for position, (row, histograms) in enumerate(zip(rows, drawn, strict=True))
        ],
    }


def module_tree(result: TargetReport) -> View | None:
    """The modules as a tree with the parameters below each and the gravest level of the findings at or below it."""
    modules = [row for row in result.measurements.get("modules") or [] if isinstance(row, Mapping)]
    if not modules:
        return None
    marked = _levels(result)
    nodes = {str(row["path"]): _node(row, marked.get(str(row["path"]), "")) for row in modules}
    for path, node in list(nodes.items()):
        parent = path.rpartition(".")[0]
        if path and parent in nodes:
            nodes[parent]["children"].append(node)
    root = nodes.get("")
    if root is not None:
        _sum_up(root)
    return root


def _node(row: Mapping[str, Any], level: str) -> View:
    return {
        "path": str(row["path"]),
        "name": str(row["path"]).rpartition(".")[2] or "model",
        "type": str(row.get("type", "")),
        "line": str(row.get("line") or ""),
        "parameters": int(row.get("parameters") or 0),
        "level": level,
        "below": "",
        "children": [],
    }


def _sum_up(node: View) -> None:
    """Add what is below each node: a model as deep as Python's stack is none that anybody has."""
    for child in node["children"]:
        _sum_up(child)
        node["parameters"] += child["parameters"]
        node["below"] = _graver(node["below"], _graver(child["level"], child["below"]))


def _levels(result: TargetReport) -> dict[str, str]:
    """The gravest level of the findings at each module."""
    found: dict[str, str] = {}
    for finding in result.findings:
        for path in (finding.module, *finding.modules):
            found[path] = _graver(found.get(path, ""), finding.level.value)
    return found


def _graver(first: str, second: str) -> str:
    order = ["", "info", "warning", "error"]
    return max(first, second, key=order.index)
