"""One cause, one finding: explained findings become symptoms, repeated ones are one. Order and fingerprints are made here."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from nnlint.finding import Finding, Level
from nnlint.rule import Rule

_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_DIGITS = re.compile(r"(\d+)")


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

    What is left of one rule, said in the same words of one source line or of blocks that differ in their numbers alone, is one
    fault: it stays at the first of its modules and names how many there are.
    """
    found = sorted(raised, key=_order)
    owner = {index: _cause_of(found[index], found) for index in range(len(found))}
    kept: list[Raised] = []
    for index, candidate in enumerate(found):
        # Rules that explain each other in a circle all stay: dropping both would hide the fault.
        if _root(index, owner) is not None:
            continue
        symptoms = tuple(found[other] for other in owner if _root(other, owner) == index)
        kept.append(replace(candidate, symptoms=_once(symptoms)))
    return list(_once(kept))


def _order(item: Raised) -> tuple[int, str, tuple[tuple[int, str], ...], int]:
    line = item.finding.at.location if item.finding.at is not None else None
    return (-item.level.rank, item.rule.code, natural(item.module), line.line if line else 0)


def natural(path: str) -> tuple[tuple[int, str], ...]:
    """Sort key of a module path: `blocks.2` comes before `blocks.10`."""
    parts = _DIGITS.split(path)
    return tuple((int(part), "") if number % 2 else (0, part) for number, part in enumerate(parts))


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


# -------------------------------------------------------------------- one fault in many blocks


def _once(findings: Sequence[Raised]) -> tuple[Raised, ...]:
    """The findings, each fault that is repeated over modules as one, where the first of them stood."""
    groups: dict[Hashable, list[Raised]] = defaultdict(list)
    for index, item in enumerate(findings):
        fault = _fault(item)
        groups[index if fault is None else fault].append(item)
    return tuple(part for group in groups.values() for part in _merged(group))


def _fault(item: Raised) -> Hashable | None:
    """What two findings share that are one fault: the rule, the line or the kind of block, and the words without the numbers."""
    if not item.module:
        return None
    place = item.finding.at.location if item.finding.at is not None else None
    where = (place.file, place.line) if place is not None else _pattern(item.module)
    said = item.finding.message.replace(item.module, "*")
    return (item.rule.code, item.level, where, _NUMBER.sub("#", said))


def _pattern(path: str) -> str:
    return _DIGITS.sub("*", path)


def _merged(group: Sequence[Raised]) -> Sequence[Raised]:
    group = list({(item.module, item.finding.message): item for item in reversed(group)}.values())[::-1]  # a model called again
    modules = list(dict.fromkeys(item.module for item in group))
    if len(group) == 1 or len(modules) < len(group):
        return group  # several at one module are faults of their own
    first = group[0]
    finding = replace(
        first.finding,
        message=f"{first.finding.message} (in {_named(modules)})",
        modules=tuple(dict.fromkeys(path for item in group for path in (item.module, *item.finding.modules))),
    )
    symptoms = _once([symptom for item in group for symptom in item.symptoms])
    return [replace(first, finding=finding, symptoms=symptoms)]


def _named(modules: Sequence[str]) -> str:
    """`30 blocks of blocks.*`; `12 modules: layers.*.blocks.*.drop`; `2 modules: encoder.norm, decoder.norm`."""
    patterns = {_pattern(path) for path in modules}
    if len(patterns) > 1:
        shown = ", ".join(modules[:3])
        return f"{len(modules)} modules: {shown}" + (", ..." if len(modules) > 3 else "")
    numbers = [_DIGITS.findall(path) for path in modules]
    varying = [column for column in range(len(numbers[0])) if len({row[column] for row in numbers}) > 1]
    parts = _DIGITS.split(modules[0])
    shown = "".join("*" if number % 2 and number // 2 in varying else part for number, part in enumerate(parts))
    one_list = len(varying) == 1 and re.match(r"(.*\.)?\*(\.|$)", shown)
    return f"{len(modules)} blocks of {shown.partition('*')[0]}*" if one_list else f"{len(modules)} modules: {shown}"
