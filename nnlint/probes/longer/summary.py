"""The longer probes in the report: plain values by the probes' names."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from nnlint.config import PROBES
from nnlint.finding import Location, Skip

#: What the values of dataclasses do not show by themselves.
_PROPERTIES = {
    "OverfitRun": ("steps", "in_words"),
    "LearningRateRange": ("interval", "suggestion", "minimum_diverged", "position", "steps_to_move"),
}


def deep_summary(measured: Mapping[str, Any], wanted: Iterable[str]) -> dict[str, Any]:
    """What each of the wanted probes measured, or under "skipped" why it did not."""
    found: dict[str, Any] = {}
    for name in wanted:
        kind = PROBES[name]
        evidence = measured.get(kind)
        if isinstance(evidence, Skip):
            found[name] = {"skipped": evidence.reason}
        elif evidence is not None:
            shown = {field.name: getattr(evidence, field.name) for field in dataclasses.fields(evidence)}
            shown |= {field: getattr(evidence, field) for field in _PROPERTIES.get(kind, ())}
            found[name] = _plain(shown)
    return found


def _plain(value: Any) -> Any:
    """Six significant digits; non-finite numbers by name, since JSON has none."""
    if isinstance(value, Location):
        return f"{value.file}:{value.line}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value
