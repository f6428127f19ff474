"""The table of layers in the text report."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tabulate import tabulate

_ROWS = 24
_HEADERS = {
    "layer": "layer",
    "op": "op",
    "std": "output std",
    "zeros": "zeros",
    "dead": "dead",
    "saturated": "saturated",
    "gradient": "gradient (activation)",
    "weight_gradient": "gradient (weight)",
    "update": "update/weight",
}
_FRACTIONS = {"zeros", "dead", "saturated"}


def layer_table(layers: Sequence[Mapping[str, Any]], concerned: Collection[str], *, complete: bool) -> list[str]:
    """Rows of the table: all of them, or the ones that findings are about with the first and the last layers."""
    columns = [key for key in _HEADERS if any(row.get(key) is not None for row in layers)]
    if not columns:
        return []
    chosen = list(range(len(layers))) if complete or len(layers) <= _ROWS else _chosen(layers, concerned)
    rows: list[list[str]] = []
    previous = -1
    for number in [*chosen, len(layers)]:
        if number > previous + 1:
            rows.append([f"... {number - previous - 1} more", *[""] * (len(columns) - 1)])
        if number < len(layers):
            rows.append([_cell(key, layers[number].get(key)) for key in columns])
        previous = number
    align = ["left" if key in {"layer", "op"} else "right" for key in columns]
    headers = [_HEADERS[key] for key in columns]
    table = tabulate(rows, headers, tablefmt="plain", disable_numparse=True, colalign=align)
    return [line.rstrip() for line in table.splitlines()]


def _chosen(layers: Sequence[Mapping[str, Any]], concerned: Collection[str]) -> list[int]:
    """Indices of the first and last layers and of those concerned, no more than a screen holds."""
    named = [number for number, row in enumerate(layers) if row.get("layer") in concerned]
    ends = [0, 1, 2, len(layers) - 3, len(layers) - 2, len(layers) - 1]
    return sorted({*ends, *named[: _ROWS - len(ends)]})


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if not math.isfinite(value):
        return str(value)
    if key in _FRACTIONS:
        return f"{value * 100:.0f} %"
    return f"{value:.2g}" if value == 0 or 0.01 <= abs(value) < 100 else f"{value:.1e}"
