"""The learning-rate range test as text: what it found, and its curve in plain characters."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nnlint.report import TargetReport

_HEIGHT = 12
_MARGIN = 10  # columns left of the curve
_TICK = 5  # of a rate below it, the last of which begins at its end
_STANDS = {
    "inside": "inside the interval",
    "above": "above the interval: training may diverge",
}


def render(result: TargetReport, measured: Mapping[str, Any], *, width: int) -> str:
    """The result of `nnlint lr` for a person.

    Args:
        result: the report of the check that ran the probe.
        measured: what the probe measured (`nnlint.probes.longer.stats.LearningRateRange` as plain values).
        width: columns.
    """
    facts = [str(result.subject[key]) for key in ("model", "loss", "optimizer") if result.subject.get(key)]
    lines = [f"{result.target}   {', '.join(facts)}"]
    for text in result.assumptions:
        lines += textwrap.wrap(f"assumed: {text}", width, initial_indent="  ", subsequent_indent="           ")
    lines += ["", *_said(measured, width), "", *curve(measured, width)]
    return "\n".join(lines) + "\n"


def _said(measured: Mapping[str, Any], width: int) -> Iterator[str]:
    interval = measured["interval"]
    if interval is None:
        yield from _fact("interval", f"none: {_why_none(measured)}", width)
    else:
        yield from _fact("interval", f"{_rate(interval[0])} to {_rate(interval[1])}", width)
        yield from _fact("suggestion", _rate(measured["suggestion"]), width)
    if measured["configured"] is None:
        yield from _fact("configured", f"no optimizer given: measured with {measured['optimizer']}", width)
    else:
        yield from _fact("configured", _rate(measured["configured"]) + _stands(measured), width)
    if measured["minimum"] is not None:
        yield from _fact("minimum", f"{_rate(measured['minimum'])}, of the curve{_judged(measured)}", width)
    tried = ", ".join(f"{_rate(trial['rate'])} {_outcome(trial)}" for trial in measured["trials"])
    if tried:
        yield from _fact("tried", tried, width)


def _why_none(measured: Mapping[str, Any]) -> str:
    smoothed = [_number(value) for value in measured["smoothed"]]
    if measured["minimum"] is not None:
        return "training diverges at every rate at which the loss moves"
    if len(smoothed) < 2:
        return "the loss is not a number after the first step"
    return f"the loss falls too little at every rate, from {_short(smoothed[0])} to {_short(min(smoothed))}"


def _stands(measured: Mapping[str, Any]) -> str:
    """Where the configured rate stands. Below the interval is slow only where many steps go by before the loss moves."""
    if measured["position"] == "below":
        return f", below the interval: the loss starts to move after about {_short(measured['steps_to_move'])} steps at this rate"
    stands = _STANDS.get(measured["position"])
    return f", {stands}" if stands else ""


def _judged(measured: Mapping[str, Any]) -> str:
    if measured["minimum_diverged"]:
        return ": too high, training from the start at this rate diverges"
    if measured["interval"] is not None and measured["minimum"] > measured["interval"][1]:
        return ": too high, it is above the interval"
    return ""


def _outcome(trial: Mapping[str, Any]) -> str:
    losses = trial["losses"]
    if trial["diverged"]:
        return "diverges"
    return f"{_short(losses[0])} to {_short(losses[-1])} in {len(losses) - 1} steps"


def _fact(name: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(f"{name:<12}{text}", width, subsequent_indent=" " * 12, break_on_hyphens=False)


def curve(measured: Mapping[str, Any], width: int) -> list[str]:
    """Rows of characters: the smoothed loss over the logarithm of the rate, and below it the interval and the rates."""
    rates, smoothed = measured["rates"], [_number(value) for value in measured["smoothed"]]
    if len(smoothed) < 2:
        return []
    columns = min(width - _MARGIN - _TICK, 80)
    # What lies far above the start belongs to the divergence and would press the rest flat.
    top = min(max(smoothed), smoothed[0] + 0.25 * (max(smoothed[0] - min(smoothed), 1e-12)))
    low = min(smoothed)
    grid = [[" "] * columns for _ in range(_HEIGHT)]
    for column in range(columns):
        value = _at(smoothed, column / (columns - 1))
        row = (top - value) / max(top - low, 1e-12) * (_HEIGHT - 1)
        grid[max(round(row), 0)][column] = "*" if row >= -0.5 else "^"
    labels = {0: top, _HEIGHT - 1: low, (_HEIGHT - 1) // 2: (top + low) / 2}
    rows = [
        f"{_short(labels[index]) if index in labels else '':>{_MARGIN - 2}} |{''.join(cells)}".rstrip()
        for index, cells in enumerate(grid)
    ]
    return [
        *rows,
        " " * (_MARGIN - 1) + "+" + "-" * columns,
        *_axis(measured, rates, columns),
        *_legend(measured, width),
    ]


def _axis(measured: Mapping[str, Any], rates: Sequence[float], columns: int) -> Iterator[str]:
    """Decades, and a line of marks: the interval, the suggestion, the configured rate and the minimum."""
    span = math.log10(rates[-1] / rates[0])

    def column(rate: float) -> int:
        return round(math.log10(rate / rates[0]) / span * (columns - 1))

    ticks = [" "] * (columns + _TICK)
    for decade in range(math.ceil(math.log10(rates[0]) - 1e-9), math.floor(math.log10(rates[-1]) + 1e-9) + 1):
        start = column(10.0**decade)
        ticks[start : start + _TICK] = f"{10.0**decade:.0e}"
    yield (" " * _MARGIN + "".join(ticks)).rstrip()
    marks = [" "] * columns
    if measured["interval"] is not None:
        first, last = (min(max(column(rate), 0), columns - 1) for rate in measured["interval"])
        marks[first : last + 1] = "=" * (last + 1 - first)
    for name, letter in (("minimum", "m"), ("suggestion", "s"), ("configured", "c")):
        if measured[name] is not None and 0 <= column(measured[name]) < columns:
            marks[column(measured[name])] = letter
    yield (" " * _MARGIN + "".join(marks)).rstrip()


def _legend(measured: Mapping[str, Any], width: int) -> list[str]:
    marks = {
        "interval": "= interval",
        "suggestion": "s suggestion",
        "configured": "c configured",
        "minimum": "m minimum",
    }
    shown = ", ".join(mark for name, mark in marks.items() if measured[name] is not None)
    text = f"{shown}; loss over learning rate" if shown else "loss over learning rate"
    return textwrap.wrap(text, width, initial_indent=" " * _MARGIN, subsequent_indent=" " * _MARGIN)


def _at(values: Sequence[float], share: float) -> float:
    """The value at this share of the way, between its neighbours on a straight line."""
    place = share * (len(values) - 1)
    before = min(int(place), len(values) - 2)
    return values[before] + (place - before) * (values[before + 1] - values[before])


def _number(value: Any) -> float:
    """Non-finite numbers come by name."""
    return float(value)


def _rate(value: float) -> str:
    return f"{value:.1e}"


def _short(value: Any) -> str:
    return f"{_number(value):.3g}"
