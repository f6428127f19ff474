"""The charts of a loss: at the start, over updates and over learning rates; and of the targets it was taken on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnlint.report import TargetReport
from nnlint.reporters.html.chart_parts import Chart, Point, Text, drawn, line_at, mapping, number, numbers, series_of

#: A loss that reaches this multiple of its first value is drawn on a logarithmic axis.
_EXPLODED = 30.0


def initial_loss(_: TargetReport, measured: Mapping[str, Any]) -> Chart | None:
    """The first loss beside the closed forms of a fresh model."""
    known = mapping(measured.get("closed_forms"))
    forms = [(str(name), value) for name, loss in known.items() if (value := number(loss)) is not None]
    first = number(measured.get("initial_loss"))
    if first is None or not forms:
        return None
    return drawn(
        Text(
            "initial-loss",
            "First loss and its closed form",
            "A fresh model knows nothing: its first loss should be near that of a prediction that says nothing.",
        ),
        {"label": "", "names": ["first loss", *(name for name, _ in forms)]},
        {"label": "loss", "from_zero": True},
        [series_of("loss", [first, *(value for _, value in forms)], kind="bars")],
        anchor=0,
    )


def steps(_: TargetReport, measured: Mapping[str, Any]) -> Chart | None:
    """The loss over a few real optimizer steps."""
    steps = mapping(measured.get("steps"))
    losses = numbers(steps.get("losses"))
    lines = [line_at(steps.get("chance"), "loss of guessing")]
    return drawn(
        Text(
            "steps",
            "Loss over a few real optimizer steps",
            (
                f"The configured optimizer ({steps.get('optimizer') or 'SGD'}) on the sample batch. A prediction that says nothing has "
                "the loss of the dashed line."
            ),
        ),
        {"label": "update", "values": list(range(len(losses)))},
        {"label": "loss", "log": _explodes(losses)},
        [series_of("loss", losses)],
        lines=[line for line in lines if line is not None],
        anchor=len(losses) - 1,
    )


def overfit(_: TargetReport, measured: Mapping[str, Any]) -> Chart | None:
    """The losses of the overfitting probe, one series a setting."""
    probe = mapping(measured.get("overfit"))
    rungs = [rung for rung in probe.get("rungs") or [] if isinstance(rung, Mapping)]
    series = [
        series_of(f"{rung.get('optimizer')} {_rate(rung.get('learning_rate'))}", numbers(rung.get("losses")))
        for rung in rungs
    ]
    longest = max((len(item["values"]) for item in series), default=0)
    for item in series:
        item["values"] += [None] * (longest - len(item["values"]))
    lines = [
        line_at(probe.get("floor"), "smallest possible loss"),
        line_at(probe.get("blind_loss"), "best without the input"),
    ]
    return drawn(
        Text(
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


def learning_rates(_: TargetReport, measured: Mapping[str, Any]) -> Chart | None:
    """The loss over growing learning rates."""
    probe = mapping(measured.get("lr-range"))
    rates = [rate for rate in numbers(probe.get("rates")) if rate is not None]
    marks = [
        {"x": value, "label": label, "level": "info"}
        for key, label in (("configured", "configured"), ("suggestion", "suggestion"), ("minimum", "minimum of the curve"))
        if (value := number(probe.get(key))) is not None
    ]
    interval = numbers(probe.get("interval"))
    bands = []
    if len(interval) == 2 and None not in interval:
        bands = [{"axis": "x", "from": interval[0], "to": interval[1], "label": "trains"}]
    return drawn(
        Text(
            "learning-rates",
            "Learning-rate range",
            "The loss while the rate grows. Inside the shaded interval the model trains.",
        ),
        {"label": "learning rate", "values": rates, "log": True},
        {"label": "loss", "log": _explodes(numbers(probe.get("losses")))},
        [
            series_of("loss", numbers(probe.get("losses")), kind="points"),
            series_of("smoothed", numbers(probe.get("smoothed"))),
        ],
        marks=marks,
        bands=bands,
        anchor=number(probe.get("configured")),
    )


def classes(_: TargetReport, measured: Mapping[str, Any]) -> Chart | None:
    """How many targets each class has."""
    counts = numbers(measured.get("classes"))
    return drawn(
        Text("classes", "Class balance of the sample batch", "Targets of each class."),
        {"label": "class", "names": [str(index) for index in range(len(counts))]},
        {"label": "targets", "from_zero": True},
        [series_of("targets", counts, kind="bars")],
        anchor=max(range(len(counts)), key=lambda index: counts[index] or 0.0, default=None),
    )


def _explodes(losses: Sequence[Point]) -> bool:
    """Whether a loss grows so much that nothing else is seen on a linear axis."""
    known = [loss for loss in losses if loss is not None]
    return bool(known) and min(known) > 0 and max(known) > _EXPLODED * known[0]


def _rate(value: object) -> str:
    found = number(value)
    return f"lr {found:.2g}" if found is not None else "as configured"
