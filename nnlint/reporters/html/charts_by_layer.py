"""The charts whose axis is the depth of the model: one position a layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from nnlint.report import TargetReport
from nnlint.reporters.html.chart_parts import (
    Chart,
    Text,
    column,
    drawn,
    layers_of,
    mapping,
    marks_of,
    number,
    series_of,
)


def scales(result: TargetReport, measured: Mapping[str, Any]) -> Chart | None:
    """How large signal and gradient are at each layer."""
    rows = layers_of(measured)
    signal, gradient = column(rows, "std"), column(rows, "gradient")
    return _by_layer(
        result,
        Text(
            "signal-and-gradient",
            "Signal and gradient by depth",
            (
                "A signal that falls or grows steadily from layer to layer vanishes or explodes; the same for the gradient, read from "
                "right to left."
            ),
        ),
        [series_of("activations (std)", signal), series_of("gradient (rms)", gradient)],
        log=True,
    )


def silent_units(result: TargetReport, measured: Mapping[str, Any]) -> Chart | None:
    """Dead, zero and saturated units of each layer."""
    rows = layers_of(measured)
    columns = (("dead units", "dead"), ("zeros", "zeros"), ("saturated", "saturated"))
    series = [series_of(name, column(rows, key), kind="bars") for name, key in columns]
    return _by_layer(
        result,
        Text(
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


def update_ratios(result: TargetReport, measured: Mapping[str, Any]) -> Chart | None:
    """How far one optimizer step moves each weight."""
    rows = layers_of(measured)
    return _by_layer(
        result,
        Text(
            "update-ratio",
            "Update to weight ratio",
            "How far one optimizer step moves each weight, relative to its size. About 1e-3 is usual.",
        ),
        [series_of("update / weight", column(rows, "update"), kind="points")],
        log=True,
        bands=[{"axis": "y", "from": 1e-4, "to": 1e-2, "label": "usual"}],
    )


def precision(result: TargetReport, measured: Mapping[str, Any]) -> Chart | None:
    """What the lower precision costs at each layer."""
    layers = mapping(measured.get("precision")).get("layers") or []
    rows = [row for row in layers if isinstance(row, Mapping)]
    names = [str(row.get("module_path") or row.get("label") or index) for index, row in enumerate(rows)]
    return drawn(
        Text(
            "precision",
            "Error of the lower precision by layer",
            "Relative difference between float32 and the declared precision, at the output of each layer.",
        ),
        {"label": "layer", "names": names},
        {"label": "relative error", "log": True},
        [series_of("relative error", [number(row.get("relative_error")) for row in rows])],
        marks=marks_of(result, [{"layer": name} for name in names]),
    )


def _by_layer(
    result: TargetReport,
    text: Text,
    series: list[dict[str, Any]],
    *,
    log: bool = False,
    limits: tuple[float, float] | None = None,
    bands: Iterable[dict[str, Any]] = (),
) -> Chart | None:
    names = [str(row.get("layer", "")) for row in layers_of(result.measurements)]
    vertical: dict[str, Any] = {"label": "", "log": log}
    if limits is not None:
        vertical["limits"] = list(limits)
    return drawn(
        text,
        {"label": "layer", "names": names},
        vertical,
        series,
        marks=marks_of(result, layers_of(result.measurements)),
        bands=bands,
    )
