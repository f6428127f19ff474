"""Draws the charts of a report as SVG files for the documentation: the same data as on the HTML page, with the findings marked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

Chart = Mapping[str, Any]
_INK, _FAINT, _EDGE, _BAND = "#1c1e21", "#5a6370", "#d5d9de", "#ddf1ea"
#: Colours of Okabe and Ito, as on the page.
_SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_LEVELS = {"error": "#b3261e", "warning": "#8a5a00", "info": "#0062a3"}
_WIDTH, _LEFT, _RIGHT, _LINE = 680.0, 62.0, 16.0, 15.0
_PLOT = 200.0
#: Decades of the histograms (nnlint/probes/training_pass/histograms.py).
_DECADES = (-12, 4)


@dataclass(frozen=True)
class _Axis:
    """From values to pixels; `low` and `high` are powers of ten where it is logarithmic."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        at = math.log10(max(value, 1e-300)) if self.log else value
        share = (at - self.low) / ((self.high - self.low) or 1.0)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Decades, or round numbers."""
        if self.log:
            every = max(1, math.ceil((self.high - self.low) / 8))
            return [10.0**power for power in range(math.ceil(self.low), math.floor(self.high) + 1, every)]
        step = 10.0 ** math.floor(math.log10((self.high - self.low) / 4))
        step *= next((factor for factor in (1, 2, 5, 10) if (self.high - self.low) / (step * factor) <= 6), 10)
        first = math.ceil(self.low / step - 1e-9)
        return [step * (first + index) for index in range(math.floor(self.high / step + 1e-9) - first + 1)]


def chart_svg(chart: Chart) -> str:
    """A chart of `nnlint.reporters.html.charts.charts_of` as a picture."""
    labels = list(dict.fromkeys(mark["label"] for mark in chart["marks"]))
    top = 34 + _LINE * len(labels)
    names = chart["x"].get("names")
    slanted = names is not None and max(map(len, names)) * 6.5 * len(names) > _WIDTH - _LEFT
    foot = (94.0 if slanted else 24.0) if names else 40.0
    x = _x_axis(chart)
    y = _y_axis(chart, top)
    parts = [
        *_bands(chart, x, y),
        *_grid(chart, x, y, slanted=slanted),
        *_all_series(chart, x, y),
        *_lines(chart, y),
        *_marks(chart, labels, x, y),
        *_legend(chart, top + _PLOT + foot),
    ]
    return _document(chart["title"], parts, top + _PLOT + foot + 22)


def ridge_svg(title: str, rows: Sequence[tuple[str, Sequence[Sequence[int]]]], series: Sequence[str]) -> str:
    """Histograms of magnitudes, one row for each layer: filled for the first series, an outline for each further one."""
    height, top = 46.0, 34.0
    axis = _Axis(_DECADES[0], _DECADES[1], 120.0, _WIDTH - _RIGHT)
    bottom = top + height * len(rows)
    parts = []
    for power in range(_DECADES[0], _DECADES[1] + 1, 2):
        at = axis(power)
        parts.append(f'<path d="M{at:.1f},{top} V{bottom}" stroke="{_EDGE}"/>')
        parts.append(_text(at, bottom + 16, f"{10.0**power:.0e}", fill=_FAINT, anchor="middle"))
    for number, (name, histograms) in enumerate(rows):
        base = top + height * (number + 1)
        parts.append(_text(112, base - 6, name, anchor="end"))
        parts += [_ridge(counts, axis, base, height - 6, index) for index, counts in enumerate(histograms) if counts]
    entries = [{"name": name} for name in series]
    return _document(title, [*parts, *_legend({"series": entries}, bottom + 24)], bottom + 48)


def _ridge(counts: Sequence[int], axis: _Axis, base: float, height: float, index: int) -> str:
    """A row is as high as its fullest bin; exact zeros stand in the first one, which is cut off where it is higher."""
    peak = max(counts[1:]) or max(counts) or 1
    width = (axis.end - axis.start) / len(counts)
    steps = "".join(
        f" L{axis.start + place * width:.1f},{base - height * min(count / peak, 1.0):.1f} h{width:.1f}"
        for place, count in enumerate(counts)
    )
    color = _SERIES[index % len(_SERIES)]
    paint = f'fill="{color}" fill-opacity="0.45"' if index == 0 else 'fill="none"'
    return f'<path d="M{axis.start},{base}{steps} V{base}" {paint} stroke="{color}" stroke-width="1.4"/>'


# ---------------------------------------------------------------- axes


def _x_axis(chart: Chart) -> _Axis:
    start, end = _LEFT, _WIDTH - _RIGHT
    if "names" in chart["x"]:
        return _Axis(-0.6, len(chart["x"]["names"]) - 0.4, start, end)
    values = [value for value in chart["x"]["values"] if value is not None]
    if chart["x"].get("log"):
        return _Axis(math.log10(min(values)), math.log10(max(values)), start, end, log=True)
    return _Axis(min(values), max(values), start, end)


def _y_axis(chart: Chart, top: float) -> _Axis:
    log = bool(chart["y"].get("log"))
    values = [value for item in chart["series"] for value in item["values"] if value is not None and (value > 0 or not log)]
    values += [item["y"] for item in chart["lines"] if item["y"] > 0 or not log]
    values += [edge for band in chart["bands"] if band["axis"] == "y" for edge in (band["from"], band["to"])]
    start, end = top + _PLOT, top
    if log:
        return _Axis(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))), start, end, log=True)
    low, high = chart["y"].get("limits") or (min(values), max(values))
    pad = 0.0 if "limits" in chart["y"] else 0.08 * ((high - low) or abs(high) or 1.0)
    return _Axis(0.0 if chart["y"].get("from_zero") else low - pad, high + pad, start, end)


def _grid(chart: Chart, x: _Axis, y: _Axis, *, slanted: bool) -> Iterator[str]:
    for tick in y.ticks():
        yield f'<path d="M{x.start},{y(tick):.1f} H{x.end}" stroke="{_EDGE}"/>'
        yield _text(x.start - 6, y(tick) + 4, f"{tick:.3g}", fill=_FAINT, anchor="end")
    names = chart["x"].get("names")
    if names is None:
        for tick in x.ticks():
            yield f'<path d="M{x(tick):.1f},{y.end} V{y.start}" stroke="{_EDGE}"/>'
            yield _text(x(tick), y.start + 15, f"{tick:.3g}", fill=_FAINT, anchor="middle")
        yield _text((x.start + x.end) / 2, y.start + 32, chart["x"]["label"], fill=_FAINT, anchor="middle")
        return
    for index, name in enumerate(names):
        short = name if len(name) <= 18 else name[:17] + "\u2026"
        turn = f' transform="rotate(-35 {x(index):.1f} {y.start + 14})"' if slanted else ""
        yield _text(x(index), y.start + 14, short, fill=_FAINT, anchor="end" if slanted else "middle", more=turn)


# ---------------------------------------------------------------- what is drawn


def _bands(chart: Chart, x: _Axis, y: _Axis) -> Iterator[str]:
    for band in chart["bands"]:
        axis = x if band["axis"] == "x" else y
        low, high = sorted((axis(band["from"]), axis(band["to"])))
        left, width = (low, high - low) if axis is x else (x.start, x.end - x.start)
        up, height = (y.end, y.start - y.end) if axis is x else (low, high - low)
        yield f'<rect x="{left:.1f}" y="{up:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{_BAND}"/>'
        yield _text(left + 4, up + height - 5, band["label"], fill=_FAINT)


def _all_series(chart: Chart, x: _Axis, y: _Axis) -> Iterator[str]:
    places = list(range(len(chart["x"]["names"]))) if "names" in chart["x"] else chart["x"]["values"]
    for index, item in enumerate(chart["series"]):
        color = _SERIES[index % len(_SERIES)]
        known = [
            (place, value)
            for place, value in zip(places, item["values"], strict=False)
            if value is not None and (value > 0 or not y.log)
        ]
        if item["kind"] == "bars":
            width = 0.7 / len(chart["series"])
            yield from (_bar(x, y, place - 0.35 + width * index, width, value, color) for place, value in known)
            continue
        points = [f"{x(place):.1f},{y(value):.1f}" for place, value in known]
        if item["kind"] == "line":
            dash = ' stroke-dasharray="8 3"' if index % 2 else ""
            yield f'<polyline points="{" ".join(points)}" fill="none" stroke="{color}" stroke-width="2"{dash}/>'
        if len(points) < 60:
            yield "".join(
                f'<circle cx="{point.partition(",")[0]}" cy="{point.partition(",")[2]}" r="3" fill="{color}"/>'
                for point in points
            )


def _bar(x: _Axis, y: _Axis, left: float, width: float, value: float, color: str) -> str:
    wide = x(left + width) - x(left)
    high = y.start - y(value)
    return (
        f'<rect x="{x(left):.1f}" y="{y(value):.1f}" width="{wide:.1f}" height="{high:.1f}" fill="{color}" fill-opacity="0.4" '
        f'stroke="{color}" stroke-width="1.5"/>'
    )


def _lines(chart: Chart, y: _Axis) -> Iterator[str]:
    for item in chart["lines"]:
        if item["y"] > 0 or not y.log:
            at = y(item["y"])
            yield f'<path d="M{_LEFT},{at:.1f} H{_WIDTH - _RIGHT}" stroke="{_FAINT}" stroke-dasharray="5 4"/>'
            yield _text(_WIDTH - _RIGHT - 4, at - 4, item["label"], anchor="end")


def _marks(chart: Chart, labels: Sequence[str], x: _Axis, y: _Axis) -> Iterator[str]:
    written: set[str] = set()
    for mark in chart["marks"]:
        color, at = _LEVELS[mark["level"]], x(mark["x"])
        high = 30 + _LINE * (labels.index(mark["label"]) + 1)
        faint = ' opacity="0.4"' if mark.get("further") else ""
        start = y.end if mark["label"] in written or mark.get("further") else high - 8
        yield f'<path d="M{at:.1f},{start} V{y.start}" stroke="{color}" stroke-width="1.5" stroke-dasharray="5 4"{faint}/>'
        if mark["label"] not in written and not mark.get("further"):
            written.add(mark["label"])
            to_left = at > 0.6 * _WIDTH
            yield _text(at + (-5 if to_left else 5), high, mark["label"], fill=color, anchor="end" if to_left else "start")


def _legend(chart: Chart, at: float) -> Iterator[str]:
    left = _LEFT
    for index, item in enumerate(chart["series"]):
        yield f'<rect x="{left:.1f}" y="{at - 2}" width="11" height="11" fill="{_SERIES[index % len(_SERIES)]}"/>'
        yield _text(left + 16, at + 8, item["name"])
        left += 40 + 6.6 * len(item["name"])


def _text(x: float, y: float, text: str, *, fill: str = _INK, anchor: str = "start", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" text-anchor="{anchor}"{more}>{escape(text)}</text>'


def _document(title: str, parts: Sequence[str], height: float) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:.0f} {height:.0f}" width="{_WIDTH:.0f}" height="{height:.0f}" '
        'font-family="system-ui, sans-serif" font-size="12" role="img">'
    )
    paper = f'<rect width="100%" height="100%" rx="8" fill="#ffffff" stroke="{_EDGE}"/>'
    heading = f'<text x="14" y="22" font-size="15" font-weight="600" fill="{_INK}">{escape(title)}</text>'
    return "\n".join([head, f"<title>{escape(title)}</title>", paper, heading, *parts, "</svg>", ""])
