"""What is known of a learning-rate scheduler without stepping it: its numbers, and the factors of one that is given by functions."""

from __future__ import annotations

import contextlib
import dis
import io
from collections.abc import Callable
from types import FunctionType
from typing import Any

#: Positions at which a scheduler's function is evaluated, for its peak and its end.
_POSITIONS = 2048
#: Positions whose factors are kept.
_FIRST = 3
#: A factor below this share of the peak is 0.
_ZERO = 1e-9
_STORES = ("STORE_GLOBAL", "STORE_DEREF", "STORE_ATTR", "STORE_SUBSCR", "DELETE_SUBSCR")


def settings_of(scheduler: Any) -> dict[str, Any]:
    """Facts of a scheduler: `settings`, `base_lrs`, and of its functions `factors`, `peaks`, `ends_at` (see `SchedulerFacts`)."""
    plain = {
        name: value if not isinstance(value, (list, tuple)) else tuple(value)
        for name, value in vars(scheduler).items()
        if (not name.startswith("_") or name == "_milestones") and _is_plain(value)
    }
    if "_milestones" in plain:  # of a SequentialLR
        plain["switches"] = plain.pop("_milestones")
    functions = [function for function in getattr(scheduler, "lr_lambdas", ()) if callable(function)]
    values = [_values(function) for function in functions]
    base = tuple(float(rate) for rate in getattr(scheduler, "base_lrs", ()))
    return {
        "settings": plain,
        "base_lrs": base,
        "factors": tuple(found[:_FIRST] for found in values),
        "peaks": tuple(max(found, default=0.0) for found in values),
        "ends_at": _end(values[0]) if values else None,
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(isinstance(item, (int, float)) for item in value)
    return isinstance(value, (int, float, bool, str))


def _values(function: Callable[[int], Any]) -> tuple[float, ...]:
    """The factors at the first positions; only three of a function that writes to something, or whose code is not to be had."""
    count = _POSITIONS if isinstance(function, FunctionType) and not _writes(function) else _FIRST
    found: list[float] = []
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
        # The script's own function: it may want more than a position, or know no more of them.
        found.extend(float(function(position)) for position in range(count))
    return tuple(found)


def _writes(function: FunctionType) -> bool:
    return any(instruction.opname in _STORES for instruction in dis.get_instructions(function))


def _end(values: tuple[float, ...]) -> int | None:
    """The first position at which the rate has fallen to 0."""
    peak = max(values, default=0.0)
    at_peak = values.index(peak) if values else 0
    return next((position for position in range(at_peak + 1, len(values)) if values[position] <= _ZERO * peak), None)
