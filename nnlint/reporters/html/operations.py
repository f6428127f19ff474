"""The operations around the place of a finding, as a small graph from left to right: what it reads, what reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nnlint.report import ReportedFinding

View = dict[str, Any]
_Operations = Sequence[Mapping[str, Any]]

#: Steps against and along the flow, and the most operations that are shown.
_BEFORE, _AFTER, _MOST = 4, 3, 18
#: Pixels: of a column and a row with its gap, and of a box.
_COLUMN, _ROW, _WIDTH, _HEIGHT = 148, 62, 122, 52
#: Room below the boxes for connections that pass over others.
_BELOW = 26


def neighbourhood(finding: ReportedFinding, operations: _Operations) -> View | None:
    """Boxes with their places, and connections as paths; None where the finding is at no operation."""
    center = _place_of(finding, operations)
    if center is None:
        return None
    shown = sorted(_near(center, operations))
    columns = _columns(shown, operations)
    rows = _rows(shown, columns, center, operations)
    place = {index: (columns[index] * _COLUMN, rows[index] * _ROW) for index in shown}
    joined = [(source, index) for index in shown for source in dict.fromkeys(operations[index]["inputs"]) if source in place]
    passes = any(columns[index] - columns[source] > 1 for source, index in joined)
    return {
        "width": max(columns.values()) * _COLUMN + _WIDTH,
        "height": max(rows.values()) * _ROW + _HEIGHT + (_BELOW if passes else 2),
        "boxes": [_box(operations[index], place[index], is_center=index == center) for index in shown],
        "paths": [_path(place[source], place[index]) for source, index in joined],
    }


def _place_of(finding: ReportedFinding, operations: _Operations) -> int | None:
    """The operation of the finding's line in its module, else the last one of its module or its line."""
    line = f"{finding.location.file}:{finding.location.line}" if finding.location is not None else None
    of_line = [index for index, op in enumerate(operations) if line is not None and op["line"] == line]
    of_module = [index for index, op in enumerate(operations) if finding.module and op["module"] == finding.module]
    both = [index for index in of_line if index in of_module]
    found = both or of_module or of_line
    return found[-1] if found else None


def _near(center: int, operations: _Operations) -> set[int]:
    """The nearest operations before and after the center, itself among them."""
    readers: dict[int, list[int]] = {}
    for index, op in enumerate(operations):
        for source in op["inputs"]:
            readers.setdefault(source, []).append(index)
    found = {center}
    for steps, beside in ((_BEFORE, lambda i: operations[i]["inputs"]), (_AFTER, lambda i: readers.get(i, []))):
        edge = [center]
        for _ in range(steps):
            edge = [other for index in edge for other in beside(index) if other not in found]
            found |= set(edge[: max(0, _MOST - len(found))])
            edge = [index for index in edge if index in found]
    return found


def _columns(shown: Sequence[int], operations: _Operations) -> dict[int, int]:
    """Each operation right of what it reads; one that reads nothing stands just left of its first reader."""
    columns: dict[int, int] = {}
    for index in shown:
        columns[index] = max(
            (columns[source] + 1 for source in operations[index]["inputs"] if source in columns), default=0
        )
    for index in shown:
        if not any(source in columns for source in operations[index]["inputs"]):
            after = [columns[other] for other in shown if index in operations[other]["inputs"]]
            columns[index] = min(after) - 1 if after else columns[index]
    return columns


def _rows(shown: Sequence[int], columns: Mapping[int, int], center: int, operations: _Operations) -> dict[int, int]:
    """The way through the center in the first row, the others below it."""
    way = set(_way(center, shown, operations))
    taken: set[tuple[int, int]] = set()
    rows: dict[int, int] = {}
    for index in sorted(shown, key=lambda other: (other not in way, other)):
        row = 0
        while (columns[index], row) in taken:
            row += 1
        taken.add((columns[index], row))
        rows[index] = row
    return rows


def _way(center: int, shown: Sequence[int], operations: _Operations) -> Iterator[int]:
    """Along first inputs and first readers."""
    kept = set(shown)
    position: int | None = center
    while position is not None:
        yield position
        position = next((source for source in operations[position]["inputs"] if source in kept), None)
    position = center
    while position is not None:
        at = position
        position = next((other for other in shown if at in operations[other]["inputs"]), None)
        if position is not None:
            yield position


def _box(op: Mapping[str, Any], place: tuple[int, int], *, is_center: bool) -> View:
    shape = op.get("shape")
    return {
        "op": str(op["op"]),
        "module": str(op.get("module") or ("loss" if op.get("loss") else "")),
        "shape": " x ".join(map(str, shape)) if shape else "",
        "line": str(op.get("line") or ""),
        "here": is_center,
        "x": place[0],
        "y": place[1],
    }


def _path(source: tuple[int, int], target: tuple[int, int]) -> str:
    """From the right edge of one box to the left edge of another; below the boxes that lie between them."""
    x0, y0, x1, y1 = source[0] + _WIDTH, source[1] + _HEIGHT // 2, target[0] - 5, target[1] + _HEIGHT // 2
    if x1 - x0 < _COLUMN:
        return f"M{x0},{y0} C{x0 + 14},{y0} {x1 - 14},{y1} {x1},{y1}"
    low = max(source[1], target[1]) + _HEIGHT + _BELOW
    return f"M{x0 - 20},{source[1] + _HEIGHT} C{x0 + 20},{low} {x1 - 40},{low} {x1 + 20},{target[1] + _HEIGHT + 5}"
