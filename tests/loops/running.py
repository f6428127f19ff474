"""Runs a script under observation and the rules of the loop on what was seen."""

from __future__ import annotations

from dataclasses import dataclass

from nnlint import Level, Skip, registry
from nnlint.testing import observe_source


@dataclass(frozen=True)
class Found:
    """A finding of a loop rule."""

    code: str
    level: Level
    message: str
    line: int | None
    fix: str


def findings(source: str, **plan: object) -> list[Found]:
    """What all rules of the families STP, EVL and DST say; what another finding explains is left out, as triage does."""
    observation = observe_source(source, **plan)
    have = {"Events": observation.events, "Loaders": observation.loaders, "Ranks": observation.ranks}
    found: list[Found] = []
    explained: set[str] = set()
    for rule in registry.load().rules:
        if rule.family not in ("STP", "EVL", "DST"):
            continue
        evidence = {parameter: have.get(kind) for parameter, kind in rule.evidence.items()}
        if any(value is None for parameter, value in evidence.items() if parameter not in rule.optional):
            continue
        if rule.options_parameter is not None and rule.options is not None:
            evidence[rule.options_parameter] = rule.options()
        try:
            for item in rule.check(**evidence):
                location = item.at.location if item.at is not None else None
                level = item.level or rule.level
                found.append(Found(rule.code, level, item.message, location.line if location else None, item.fix))
                explained |= set(rule.explains) - {rule.code}
        except Skip:
            continue
    return [item for item in found if item.code not in explained]


def codes(source: str, *, least: Level = Level.WARNING, **plan: object) -> list[str]:
    """Codes of the findings at this level or above, each once."""
    return list(dict.fromkeys(item.code for item in findings(source, **plan) if item.level.at_least(least)))
