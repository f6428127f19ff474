"""One cause, one finding: findings that another finding explains become its symptoms. Order and fingerprints are made here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from nnlint.finding import Finding, Level
from nnlint.rule import Rule


@dataclass(frozen=True)
class Raised:
    """A finding with the rule that raised it and what it explains."""

    rule: Rule
    finding: Finding
    level: Level
    symptoms: tuple[Raised, ...] = ()

    @property
    def module(self) -> str:
        """Module path of the finding; empty for the whole model."""
        return self.finding.at.module_path if self.finding.at is not None else ""

    @property
    def places(self) -> frozenset[str]:
        """Every module path the finding covers."""
        return frozenset({self.module, *self.finding.modules})


def triage(raised: Iterable[Raised]) -> list[Raised]:
    """Fold explained findings into their causes and sort the rest: gravest first, then by code and place.

    A finding B is a symptom of A when A's rule lists B's code in `explains` and they share a place: the same module, one
    inside the other, or either about the model as a whole. An explained finding that is graver than its cause stays,
    since hiding an error under a warning would turn a failing check into a clean one.
    """
    found = sorted(raised, key=_order)
    owner = {index: _cause_of(found[index], found) for index in range(len(found))}
    kept: list[Raised] = []
    for index, candidate in enumerate(found):
        # Rules that explain each other in a circle all stay: dropping both would hide the fault.
        if _root(index, owner) is not None:
            continue
        symptoms = tuple(found[other] for other in owner if _root(other, owner) == index)
        kept.append(replace(candidate, symptoms=symptoms))
    return kept


def _order(item: Raised) -> tuple[int, str, str, str]:
    line = item.finding.at.location if item.finding.at is not None else None
    return (-item.level.rank, item.rule.code, item.module, f"{line.line:09d}" if line else "")


def _cause_of(symptom: Raised, found: Sequence[Raised]) -> int | None:
    for index, cause in enumerate(found):
        if cause is not symptom and symptom.rule.code in cause.rule.explains and _explains(cause, symptom):
            return index
    return None


def _explains(cause: Raised, symptom: Raised) -> bool:
    if symptom.level.rank > cause.level.rank:
        return False
    if "" in cause.places or "" in symptom.places:
        return True
    return any(_nested(one, other) for one in cause.places for other in symptom.places)


def _nested(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _root(index: int, owner: Mapping[int, int | None]) -> int | None:
    """The cause at the end of the chain, or None for a finding that is its own cause or part of a cycle."""
    seen: set[int] = set()
    current = owner[index]
    while current is not None and current not in seen:
        seen.add(current)
        above = owner[current]
        if above is None:
            return current
        current = above
    return None


def ordinals(findings: Iterable[Raised]) -> list[int]:
    """For each finding its number among those of the same rule at the same module: part of the fingerprint."""
    seen: Counter[tuple[str, str]] = Counter()
    numbers = []
    for item in findings:
        key = (item.rule.code, item.module)
        numbers.append(seen[key])
        seen[key] += 1
    return numbers
