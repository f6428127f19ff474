"""The charts of a target as plain data: which numbers, on which axes, with which marks. The page's script draws them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nnlint.finding import Level
from nnlint.report import ReportedFinding, TargetReport
from nnlint.reporters.html.related import findings_by_layer, related

Chart = dict[str, Any]


class _Text(NamedTuple):
    """What is written at a chart; the identity names it in the page."""

    identity: str
    title: str
    caption: str


#: A point of a series: None leaves a gap.
Point = float | None

#: A loss that reaches this multiple of its first value is drawn on a logarithmic axis.
_EXPLODED = 30.0


def charts_of(result: TargetReport, identity: str = "target-0") -> list[Chart]:
    """All charts that the report has numbers for, in the order in which they are shown.

    Args:
        result: the target.
        identity: of its section in the page, to which the findings of a chart lead.
    """
    measured = result.measurements
    makers: tuple[Callable[[TargetReport, Mapping[str, Any]], Chart | None], ...] = (
        _scales,
        _silent_units,
        _update_ratios,
        _initial_loss,
        _steps,
        _overfit,
        _learning_rates,
        _classes,
        _precision,
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
    own = {number: finding for number, finding in enumerate(result.findings) if _label(finding) in marked}
    judging = {number: finding for number, finding in found if number not in own}
    if at is not None:
        chart["marks"] += [{"x": at, "label": _label(f), "level": f.level.value} for f in judging.values()]
    chart["findings"] = [
        {"label": _label(finding), "level": finding.level.value, "href": f"#{identity}-finding-{number}"}
        for number, finding in sorted((own | judging).items())
    ]
    return chart


def _label(finding: ReportedFinding) -> str:
    return f"{finding.code} {finding.name}"


def histograms_of(result: TargetReport) -> list[dict[str, list[int]]]:
    """The histograms of each row of the layer table, as they were measured."""
    return [dict(row.get("histograms", {})) for row in _layers(result.measurements)]


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


# ---------------------------------------------------------------- by layer


def _scales(result: TargetReport, measured: Mapping[str, Any]) -> Chart | None:
    rows = _layers(measured)
    signal, gradient = _column(rows, "std"), _column(rows, "gradient")
    return _by_layer(
        result,
        _Text(
            "signal-and-gradient",
            "Signal and gradient by depth",
            (
                "A signal that falls or grows steadily from layer to layer vanishes or explodes; the same for the gradient, read from "
                "right to left."
            ),
        ),
        [_series("activations (std)", signal), _series("gradient (rms)", gradient)],
        log=True,
    )


def _silent_units(result: TargetReport, measured: Mapping[str, Any]) -> Chart | None:
    rows = _layers(measured)
    columns = (("dead units", "dead"), ("zeros", "zeros"), ("saturated", "saturated"))
    series = [_series(name, _column(rows, key), kind="bars") for name, key in columns]
    return _by_layer(
        result,
        _Text(
            "dead-and-saturated",
            "Dead and saturated units",
            (
                "Share of a layer's units that no sample activates, of its values that are zero, and of those in the flat part of a "
                "sigmoid or tanh."
            ),
        ),
        series,
        limits=(0.0, 1.0),
    )


def _update_ratios(result: TargetReport, measured: Mapping[str, Any]) -> Chart | None:
    rows = _layers(measured)
    return _by_layer(
        result,
        _Text(
            "update-ratio",
            "Update to weight ratio",
            "How far one optimizer step moves each weight, relative to its size. About 1e-3 is usual.",
        ),
        [_series("update / weight", _column(rows, "update"), kind="points")],
        log=True,
        bands=[{"axis": "y", "from": 1e-4, "to": 1e-2, "label": "usual"}],
    )


def _precision(result: TargetReport, measured: Mapping[str, Any]) -> Chart | None:
    layers = _mapping(measured.get("precision")).get("layers") or []
    rows = [row for row in layers if isinstance(row, Mapping)]
    names = [str(row.get("module_path") or row.get("label") or index) for index, row in enumerate(rows)]
    return _chart(
        _Text(
            "precision",
            "Error of the lower precision by layer",
            "Relative difference between float32 and the declared precision, at the output of each layer.",
        ),
        {"label": "layer", "names": names},
        {"label": "relative error", "log": True},
        [_series("relative error", [_number(row.get("relative_error")) for row in rows])],
        marks=_marks(result, [{"layer": name} for name in names]),
    )


def _by_layer(
    result: TargetReport,
    text: _Text,
    series: list[dict[str, Any]],
    *,
    log: bool = False,
    limits: tuple[float, float] | None = None,
    bands: Iterable[dict[str, Any]] = (),
) -> Chart | None:
    names = [str(row.get("layer", "")) for row in _layers(result.measurements)]
    vertical: dict[str, Any] = {"label": "", "log": log}
    if limits is not None:
        vertical["limits"] = list(limits)
    return _chart(
        text,
        {"label": "layer", "names": names},
        vertical,
        series,
        marks=_marks(result, _layers(result.measurements)),
        bands=bands,
    )


# ---------------------------------------------------------------- over steps


def _initial_loss(_: TargetReport, measured: Mapping[str, Any]) -> Chart | None:
    known = _mapping(measured.get("closed_forms"))
    forms = [(str(name), value) for name, loss in known.items() if (value := _number(loss)) is not None]
    first = _number(measured.get("initial_loss"))
    if first is None or not forms:
        return None
    return _chart(
        _Text(
            "initial-loss",
            "First loss and its closed form",
            "A fresh model knows nothing: its first loss should be near that of a prediction that says nothing.",
        ),
        {"label": "", "names": ["first loss", *(name for name, _ in forms)]},
        {"label": "loss", "from_zero": True},
        [_series("loss", [first, *(value for _, value in forms)], kind="bars")],
        anchor=0,
    )


def _steps(_: TargetReport, measured: Mapping[str, Any]) -> Chart | None:
    steps = _mapping(measured.get("steps"))
    losses = _numbers(steps.get("losses"))
    lines = [_line(steps.get("chance"), "loss of guessing")]
    return _chart(
        _Text(
            "steps",
            "Loss over a few real optimizer steps",
            (
                f"The configured optimizer ({steps.get('optimizer') or 'SGD'}) on the sample batch. A prediction that says nothing has "
                "the loss of the dashed line."
            ),
        ),
        {"label": "update", "values": list(range(len(losses)))},
        {"label": "loss", "log": _explodes(losses)},
        [_series("loss", losses)],
        lines=[line for line in lines if line is not None],
        anchor=len(losses) - 1,
    )


def _overfit(_: TargetReport, measured: Mapping[str, Any]) -> Chart | None:
    probe = _mapping(measured.get("overfit"))
    rungs = [rung for rung in probe.get("rungs") or [] if isinstance(rung, Mapping)]
    series = [
        _series(f"{rung.get('optimizer')} {_rate(rung.get('learning_rate'))}", _numbers(rung.get("losses")))
        for rung in rungs
    ]
    longest = max((len(item["values"]) for item in series), default=0)
    for item in series:
        item["values"] += [None] * (longest - len(item["values"]))
    lines = [
        _line(probe.get("floor"), "smallest possible loss"),
        _line(probe.get("blind_loss"), "best without the input"),
    ]
    return _chart(
        _Text(
            "overfit",
            "Overfitting one small batch",
            str(probe.get("in_words") or "A healthy model can learn a handful of samples by heart."),
        ),
        {"label": "update", "values": list(range(longest))},
        {"label": "loss"},
        series,
        lines=[line for line in lines if line is not None],
        anchor=longest - 1,
    )


def _learning_rates(_: TargetReport, measured: Mapping[str, Any]) -> Chart | None:
    probe = _mapping(measured.get("lr-range"))
    rates = [rate for rate in _numbers(probe.get("rates")) if rate is not None]
    marks = [
        {"x": value, "label": label, "level": "info"}
        for key, label in (("configured", "configured"), ("suggestion", "suggestion"), ("minimum", "minimum of the curve"))
        if (value := _number(probe.get(key))) is not None
    ]
    interval = _numbers(probe.get("interval"))
    bands = []
    if len(interval) == 2 and None not in interval:
        bands = [{"axis": "x", "from": interval[0], "to": interval[1], "label": "trains"}]
    return _chart(
        _Text(
            "learning-rates",
            "Learning-rate range",
            "The loss while the rate grows. Inside the shaded interval the model trains.",
        ),
        {"label": "learning rate", "values": rates, "log": True},
        {"label": "loss", "log": _explodes(_numbers(probe.get("losses")))},
        [
            _series("loss", _numbers(probe.get("losses")), kind="points"),
            _series("smoothed", _numbers(probe.get("smoothed"))),
        ],
        marks=marks,
        bands=bands,
        anchor=_number(probe.get("configured")),
    )


def _classes(_: TargetReport, measured: Mapping[str, Any]) -> Chart | None:
    counts = _numbers(measured.get("classes"))
    return _chart(
        _Text("classes", "Class balance of the sample batch", "Targets of each class."),
        {"label": "class", "names": [str(index) for index in range(len(counts))]},
        {"label": "targets", "from_zero": True},
        [_series("targets", counts, kind="bars")],
        anchor=max(range(len(counts)), key=lambda index: counts[index] or 0.0, default=None),
    )


# ---------------------------------------------------------------- parts


def _chart(
    text: _Text,
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
    drawn = [item for item in series if any(value is not None for value in item["values"])]
    if not drawn:
        return None
    return {
        "id": text.identity,
        "title": text.title,
        "caption": text.caption,
        "x": x,
        "y": y,
        "series": drawn,
        "marks": list(marks),
        "lines": list(lines),
        "bands": list(bands),
        "anchor": anchor,
    }


def _series(name: str, values: Sequence[Point], *, kind: str = "line") -> dict[str, Any]:
    return {"name": name, "values": list(values), "kind": kind}


def _line(value: object, label: str) -> dict[str, Any] | None:
    found = _number(value)
    return {"y": found, "label": label} if found is not None else None


def _marks(result: TargetReport, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Where the findings are: the positions of their layers; those of further layers are drawn fainter."""
    return [
        {
            "x": position,
            "label": _label(finding),
            "level": finding.level.value,
            **({"further": True} if _is_further(finding, rows[position]) else {}),
        }
        for position, finding in findings_by_layer(result.findings, rows)
        if finding.level is not Level.INFO
    ]


def _is_further(finding: ReportedFinding, row: Mapping[str, Any]) -> bool:
    first = finding.module or next(iter(finding.modules), "")
    return bool(first) and row.get("layer") != first


def _layers(measured: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for row in measured.get("layers") or [] if isinstance(row, Mapping)]


def _column(rows: Iterable[Mapping[str, Any]], key: str) -> list[Point]:
    return [_number(row.get(key)) for row in rows]


def _numbers(values: object) -> list[Point]:
    return [_number(value) for value in values] if isinstance(values, (list, tuple)) else []


def _number(value: object) -> Point:
    """The value as a finite number; None for anything else, which leaves a gap."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _explodes(losses: Sequence[Point]) -> bool:
    """Whether a loss grows so much that nothing else is seen on a linear axis."""
    known = [loss for loss in losses if loss is not None]
    return bool(known) and min(known) > 0 and max(known) > _EXPLODED * known[0]


def _rate(value: object) -> str:
    found = _number(value)
    return f"lr {found:.2g}" if found is not None else "as configured"
