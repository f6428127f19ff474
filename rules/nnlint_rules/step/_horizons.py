"""Where a schedule ends, by its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnlint import Events, SchedulerFacts


def end_of_schedule(events: Events, scheduler: SchedulerFacts) -> float | None:
    """Where the schedule ends: by its settings, by its function, or by the last of the schedulers that it runs one after another."""
    given = scheduler.settings.get("total_steps") or scheduler.settings.get("T_max") or scheduler.ends_at
    parts = [part for part in events.schedulers.values() if part.part_of == scheduler.name]
    switches = scheduler.settings.get("switches")  # of a SequentialLR: where one part ends and the next begins
    if given is None and parts and isinstance(switches, tuple) and switches:
        last = end_of_schedule(events, parts[-1])
        return switches[-1] + last if last is not None else None
    return float(given) if isinstance(given, (int, float)) else None


def horizon_in_settings(settings: Mapping[str, Any]) -> float | None:
    """Calls of `scheduler.step` until the schedule ends: its horizon, or its last milestone."""
    for name in ("T_max", "total_steps", "total_iters"):
        value = settings.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    milestones = settings.get("milestones")
    return float(max(milestones)) if isinstance(milestones, (list, tuple, dict)) and milestones else None


def rises(settings: Mapping[str, Any]) -> bool:
    """Whether a LinearLR or ConstantLR ends at its full rate: a warm-up, which may well end within an epoch."""
    start = settings.get("start_factor", settings.get("factor"))
    return "total_iters" in settings and isinstance(start, (int, float)) and start <= settings.get("end_factor", 1.0)


def decay_after(settings: Mapping[str, Any], updates: float) -> float | None:
    """Factor of the learning rate after so many updates of a decay by `gamma`; None of another schedule."""
    gamma, size = settings.get("gamma"), settings.get("step_size", 1)
    if not isinstance(gamma, (int, float)) or not isinstance(size, (int, float)) or not 0 < gamma < 1 or size <= 0:
        return None
    return float(gamma ** (updates // size))


def numbers(settings: Mapping[str, Any]) -> dict[str, float]:
    """The settings that are numbers, for the evidence of a finding."""
    return {
        name: value
        for name, value in settings.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
