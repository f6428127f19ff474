"""The picture of an observed training loop: one column for each event, one lane for each optimizer, a ring where a finding is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from nnlint.finding import Level
from nnlint.report import ReportedFinding, TargetReport
from nnlint.reporters.html.words import shown

View = dict[str, Any]
_Events = Sequence[Mapping[str, Any]]

_ROW, _LOSS, _GAP = 18, 46, 12
#: A column's least and greatest width, and the width that a short timeline fills.
_NARROW, _WIDE, _PAGE = 10.0, 24.0, 900.0
_LABELS = 140
_MARK_ROWS = 3
_LETTERS = 24

#: Kinds in the order of their rows within a lane, with the outline of their symbol around (0, 0).
_SYMBOLS: Mapping[str, str] = {
    "forward": "M-5,-5 L5,0 L-5,5 Z",
    "autograd.grad": "M5,-5 L-5,0 L5,5 Z",
    "backward": "M5,-5 L-5,0 L5,5 Z",
    "clip": "M0,-6 L6,0 L0,6 L-6,0 Z",
    "scaler": "M-4,-4 H4 V4 H-4 Z",
    "step": "M0,-5 A5,5 0 1 1 0,5 A5,5 0 1 1 0,-5 Z",
    "update": "M-5,4 L0,-5 L5,4 Z",
    "zero_grad": "M0,-5 A5,5 0 1 1 0,5 A5,5 0 1 1 0,-5 Z M0,-2 A2,2 0 1 0 0,2 A2,2 0 1 0 0,-2 Z",
    "scheduler.step": "M-5,-3 L0,5 L5,-3 Z",
    "mode": "M-5,-2 H5 V2 H-5 Z",
    "seed": "M-4,-4 H4 V4 H-4 Z",
    "state_dict": "M-4,-4 H4 V4 H-4 Z",
    "made": "M-4,-4 H4 V4 H-4 Z",
    "read": "M-3,-3 H3 V3 H-3 Z",
    "end of pass": "M-1,-6 H1 V6 H-1 Z",
}
_DATA = ("read", "end of pass")
_UPDATING = ("backward", "step", "update")


def timeline_view(result: TargetReport, identity: str) -> View | None:
    """What the template draws of `measurements.timeline`; None where no script was observed.

    Args:
        result: the target.
        identity: of its section in the page, to which the marks of the findings lead.
    """
    found = result.measurements.get("timeline")
    events = [event for event in found.get("events") or [] if "kind" in event] if isinstance(found, Mapping) else []
    if not isinstance(found, Mapping) or not events:
        return None
    column = min(_WIDE, max(_NARROW, _PAGE / len(events)))
    marks = _marked(result, identity)
    drawing = _Drawing(events, column, marks)
    drawing.draw([lane for lane in found.get("lanes") or [] if isinstance(lane, Mapping)])
    return {
        "width": round(column * len(events) + 8),
        "height": drawing.bottom,
        "label_width": _LABELS,
        "labels": drawing.labels,
        "bands": list(_bands(events, column)),
        "epochs": list(_changes(events, "epoch", column)),
        "updates": list(_changes(events, "iteration", column)),
        "curves": drawing.curves,
        "texts": drawing.texts,
        "symbols": drawing.symbols,
        "marks": list(drawing.mark_labels()),
        "top": drawing.top,
        "events": [_told(event) for event in events],
        "left_out": int(found.get("left_out") or 0),
    }


@dataclass(frozen=True)
class _Mark:
    code: str
    name: str
    level: str
    href: str


def _marked(result: TargetReport, identity: str) -> dict[str, list[_Mark]]:
    """The findings at each line."""
    found: dict[str, list[_Mark]] = {}
    for number, finding in enumerate(result.findings):
        line = _line_of(finding)
        if line is not None and finding.level is not Level.INFO:
            mark = _Mark(finding.code, finding.name, finding.level.value, f"#{identity}-finding-{number}")
            found.setdefault(line, []).append(mark)
    return found


def _line_of(finding: ReportedFinding) -> str | None:
    place = finding.location
    return f"{place.file}:{place.line}" if place is not None else None


@dataclass
class _Drawing:
    """The lanes from top to bottom."""

    events: _Events
    column: float
    marks: Mapping[str, list[_Mark]]
    labels: list[View] = field(default_factory=list)
    curves: list[View] = field(default_factory=list)
    texts: list[View] = field(default_factory=list)
    symbols: list[View] = field(default_factory=list)
    bottom: int = 0

    def __post_init__(self) -> None:
        self.top = self.bottom = 20 + 14 * min(_MARK_ROWS, len(self._first_marks()))

    def draw(self, lanes: Sequence[Mapping[str, Any]]) -> None:
        """Data first, then each optimizer, then what concerns none."""
        numbered = list(enumerate(self.events))
        data = [(position, event) for position, event in numbered if event["kind"] in _DATA]
        self._lane("data", data, [str(event.get("loader")) for _, event in data])
        for lane in lanes:
            name = str(lane.get("optimizer"))
            own = [(position, event) for position, event in numbered if name in (event.get("lanes") or ())]
            title = f"{name} ({lane.get('type')})" if lane.get("type") not in (None, name) else name
            self._lane(title, own, [str(event["kind"]) for _, event in own])
        rest = [
            (position, event) for position, event in numbered if not event.get("lanes") and event["kind"] not in _DATA
        ]
        self._lane("script", rest, [str(event["kind"]) for _, event in rest])
        self.bottom += 22  # the numbers of the updates

    def _lane(self, title: str, own: list[tuple[int, Mapping[str, Any]]], rows: Sequence[str]) -> None:
        if not own:
            return
        self._label(title, "lane", self.bottom + _ROW // 2)
        self.bottom += _ROW
        self._losses(own)
        self._rates(own)
        order = [*_SYMBOLS]
        names = sorted(dict.fromkeys(rows), key=lambda row: order.index(row) if row in order else -1)
        middle = {row: self.bottom + index * _ROW + _ROW // 2 for index, row in enumerate(names)}
        for row, y in middle.items():
            lines = [event.get("line") for (_, event), called in zip(own, rows, strict=True) if called == row]
            self._label(f"{row} {_line_numbers(lines)}".rstrip(), "row", y)
        for (position, event), row in zip(own, rows, strict=True):
            self._symbol(position, event, middle[row])
        self.bottom += len(names) * _ROW + _GAP

    def _label(self, text: str, kind: str, y: float) -> None:
        short = text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "\u2026"
        self.labels.append({"text": short, "full": text, "kind": kind, "y": y})

    def _symbol(self, position: int, event: Mapping[str, Any], y: float) -> None:
        marks = self.marks.get(str(event.get("line")), [])
        levels = {mark.level for mark in marks}
        title = [_sentence(event), *(f"{mark.code} {mark.name}" for mark in marks)]
        self.symbols.append(
            {
                "x": self._x(position),
                "y": y,
                "path": _SYMBOLS.get(str(event["kind"]), _SYMBOLS["seed"]),
                "kind": str(event["kind"]).replace(".", "-").replace(" ", "-"),
                "title": "\n".join(title),
                "ring": "error" if "error" in levels else next(iter(levels), ""),
            }
        )

    def _x(self, position: int) -> float:
        return round((position + 0.5) * self.column, 1)

    # ---------------------------------------------------------------- the losses of a lane

    def _losses(self, own: list[tuple[int, Mapping[str, Any]]]) -> None:
        """The losses of its backwards, one curve for each line of the script."""
        curves: dict[str, list[tuple[float, float]]] = {}
        for position, event in own:
            loss = event.get("loss")
            if isinstance(loss, (int, float)) and math.isfinite(loss):
                curves.setdefault(str(event.get("line")), []).append((self._x(position), float(loss)))
        values = [loss for points in curves.values() for _, loss in points]
        if not values:
            return
        low, high = min(values), max(values)
        self._label(f"loss {high:.3g}", "scale", self.bottom + 8)
        if high > low:
            self._label(f"{low:.3g}", "scale", self.bottom + _LOSS - 8)
        for line, points in curves.items():
            places = [(x, self.bottom + _LOSS - 8 - _share(loss, low, high) * (_LOSS - 16)) for x, loss in points]
            points_shown = [(x, round(y, 1)) for x, y in places]
            self.curves.append({"title": f"loss at {line}", "points": points_shown})
        self.bottom += _LOSS

    def _rates(self, own: list[tuple[int, Mapping[str, Any]]]) -> None:
        """The learning rate at the first step of the lane, and wherever it is another one."""
        steps = [(position, event["lr"]) for position, event in own if event["kind"] == "step" and event.get("lr")]
        if not steps:
            return
        y = self.bottom + _ROW // 2
        self._label("lr", "scale", y)
        for (_, before), (position, rates) in pairwise([(0, None), *steps]):
            if rates != before:
                self.texts.append({"x": self._x(position), "y": y, "text": shown(rates)})
        self.bottom += _ROW

    # ---------------------------------------------------------------- the findings

    def _first_marks(self) -> dict[_Mark, int]:
        """Where each finding is seen first."""
        found: dict[_Mark, int] = {}
        for position, event in enumerate(self.events):
            for mark in self.marks.get(str(event.get("line")), []):
                found.setdefault(mark, position)
        return found

    def mark_labels(self) -> Iterator[View]:
        """A label above the first event of each finding, which leads to the finding."""
        last = len(self.events) * self.column
        for index, (mark, position) in enumerate(self._first_marks().items()):
            x = self._x(position)
            yield {
                "x": x,
                "y": 12 + 14 * (index % _MARK_ROWS),
                "text": f"{mark.code} {mark.name}",
                "level": mark.level,
                "href": mark.href,
                "anchor": "end" if x > 0.6 * last else "start",
            }


def _share(loss: float, low: float, high: float) -> float:
    """How high a loss stands between the least and the greatest; on a logarithmic axis where they differ much."""
    if high <= low:
        return 0.5
    if low > 0 and high > 50 * low:
        return math.log(loss / low) / math.log(high / low)
    return (loss - low) / (high - low)


def _bands(events: _Events, column: float) -> Iterator[View]:
    """Every other update, and each evaluation: forwards of it with nothing trained in between."""
    for start, end in _runs([event.get("iteration") for event in events]):
        if int(events[start].get("iteration") or 0) % 2:
            yield {"x": start * column, "width": (end - start) * column, "kind": "update"}
    inside = [bool(event.get("evaluation")) for event in events]
    seen = [position for position, is_inside in enumerate(inside) if is_inside]
    for before, after in pairwise(seen):
        if not any(events[position]["kind"] in _UPDATING for position in range(before, after)):
            inside[before:after] = [True] * (after - before)
    for start, end in _runs(inside):
        if inside[start]:
            yield {"x": start * column, "width": (end - start) * column, "kind": "evaluation"}


def _runs(values: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """Beginnings and ends of equal neighbours."""
    start = 0
    for position in range(1, len(values) + 1):
        if position == len(values) or values[position] != values[start]:
            yield start, position
            start = position


def _changes(events: _Events, key: str, column: float) -> Iterator[View]:
    """Where a count begins anew, with the number for people: from one."""
    last = -math.inf
    for start, _ in _runs([event.get(key) for event in events]):
        x = start * column
        number = int(events[start].get(key) or 0) + 1
        yield {"x": round(x, 1), "text": str(number) if x - last >= 8 * len(str(number)) + 4 else ""}
        last = x if x - last >= 8 * len(str(number)) + 4 else last


# ---------------------------------------------------------------- words


def _line_numbers(lines: Sequence[Any]) -> str:
    """`:17 :31` for events of these lines; the first two of more, as far as they are known."""
    numbers = list(dict.fromkeys(str(line).rpartition(":")[2] for line in lines if line))
    return " ".join(f":{number}" for number in numbers[:2]) + (" \u2026" if len(numbers) > 2 else "")


_UNTOLD = ("kind", "line", "lanes", "iteration", "epoch", "evaluation", "no_grad")


def _sentence(event: Mapping[str, Any]) -> str:
    told = _told(event)
    place = f" ({told['line']})" if told["line"] else ""
    return f"{told['kind']}, update {told['update']}{place}" + (f": {told['facts']}" if told["facts"] else "")


def _told(event: Mapping[str, Any]) -> View:
    """A row of the table of events."""
    facts = [f"{name.replace('_', ' ')} {shown(value)}" for name, value in event.items() if name not in _UNTOLD]
    return {
        "update": int(event.get("iteration") or 0) + 1,
        "epoch": int(event.get("epoch") or 0) + 1,
        "kind": "evaluation forward" if event.get("evaluation") else str(event["kind"]),
        "lanes": ", ".join(map(str, event.get("lanes") or ())),
        "line": str(event.get("line") or ""),
        "facts": ", ".join(facts),
    }
