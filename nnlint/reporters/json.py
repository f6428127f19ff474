"""JSON: the report model as it is, in the order of its fields; its schema is docs/reference/report.schema.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

from nnlint.report import Report
from nnlint.reporters.options import ReportOptions


def render(report: Report, _options: ReportOptions) -> str:
    """Dump the report; JSON has no NaN and no infinity, so these become the strings "nan", "inf" and "-inf"."""
    return json.dumps(plain(report.model_dump()), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """The value as JSON can carry it: sequences as lists, enumerations by value, unknown objects as text."""
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=str)
    return str(value)
