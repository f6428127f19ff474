"""What a report measured, in the four shapes that experiment trackers know: scalars, curves, tables and histograms."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nnlint.finding import Level
from nnlint.report import Report, TargetReport

#: Edges of the report's histograms: 64 bins over the powers of ten from -12 to 4.
HISTOGRAM_EDGES = tuple(10.0 ** (-12.0 + 0.25 * index) for index in range(65))


@dataclass(frozen=True)
class Curve:
    """Values over steps, or over learning rates."""

    name: str
    x_name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Table:
    """Rows of plain values."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Histogram:
    """Counts of magnitudes between `HISTOGRAM_EDGES`."""

    name: str
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Measured:
    """Everything of one target; names begin with `nnlint/`."""

    target: str
    scalars: Mapping[str, float]
    curves: tuple[Curve, ...]
    tables: tuple[Table, ...]
    histograms: tuple[Histogram, ...]


def measured(report: Report) -> Iterator[Measured]:
    """What each target of the report measured; names carry the target only where there are several."""
    for result in report.results:
        prefix = "nnlint/" if len(report.results) == 1 else f"nnlint/{result.target}/"
        yield Measured(
            target=result.target,
            scalars=dict(_scalars(result, prefix)),
            curves=tuple(_curves(result, prefix)),
            tables=tuple(_tables(result, prefix)),
            histograms=tuple(_histograms(result, prefix)),
        )


def _scalars(result: TargetReport, prefix: str) -> Iterator[tuple[str, float]]:
    for level in Level:
        yield f"{prefix}{level.value}s", float(result.count(level))
    for name in ("initial_loss", "samples"):
        value = _number(result.measurements.get(name))
        if value is not None:
            yield f"{prefix}{name}", value
    for row in _layers(result):
        for column in ("std", "gradient", "update", "dead", "saturated"):
            value = _number(row.get(column))
            if value is not None:
                yield f"{prefix}{column}/{row.get('layer')}", value


def _curves(result: TargetReport, prefix: str) -> Iterator[Curve]:
    steps = _mapping(result.measurements.get("steps"))
    yield from _curve(f"{prefix}steps/loss", "step", None, steps.get("losses"))
    for number, rung in enumerate(_mapping(result.measurements.get("overfit")).get("rungs") or []):
        yield from _curve(f"{prefix}overfit/{number}", "step", None, rung.get("losses"))
    rates = _mapping(result.measurements.get("lr-range"))
    yield from _curve(f"{prefix}lr_range/loss", "learning_rate", rates.get("rates"), rates.get("losses"))


def _curve(name: str, x_name: str, x: object, y: object) -> Iterator[Curve]:
    values = list(y) if isinstance(y, (list, tuple)) else []
    places = list(x) if isinstance(x, (list, tuple)) else list(range(len(values)))
    pairs = [(_number(place), _number(value)) for place, value in zip(places, values, strict=False)]
    kept = [(place, value) for place, value in pairs if place is not None and value is not None]
    if kept:
        yield Curve(name, x_name, tuple(place for place, _ in kept), tuple(value for _, value in kept))


def _tables(result: TargetReport, prefix: str) -> Iterator[Table]:
    columns = ("code", "name", "level", "module", "place", "message", "fix")
    rows = []
    for finding in result.findings:
        place = f"{finding.location.file}:{finding.location.line}" if finding.location is not None else ""
        rows.append(
            (finding.code, finding.name, finding.level.value, finding.module, place, finding.message, finding.fix)
        )
    yield Table(f"{prefix}findings", columns, tuple(rows))
    layers = list(_layers(result))
    if layers:
        names = tuple(name for name in layers[0] if name != "histograms")
        yield Table(f"{prefix}layers", names, tuple(tuple(row.get(name) for name in names) for row in layers))


def _histograms(result: TargetReport, prefix: str) -> Iterator[Histogram]:
    for row in _layers(result):
        for kind, counts in _mapping(row.get("histograms")).items():
            yield Histogram(f"{prefix}{kind}/{row.get('layer')}", tuple(counts))


def _layers(result: TargetReport) -> Iterator[Mapping[str, Any]]:
    yield from (row for row in result.measurements.get("layers") or [] if isinstance(row, Mapping))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
