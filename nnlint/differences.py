"""What changed between two reports: findings that are new, fixed or unchanged, and measurements that moved."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nnlint.report import Report, ReportedFinding

#: Measured numbers that differ by less, relative to the larger, are the same: processors round differently.
TOLERANCE = 0.1


@dataclass(frozen=True)
class Located:
    """A finding and the target it belongs to."""

    target: str
    finding: ReportedFinding


@dataclass(frozen=True)
class Moved:
    """A measured number that changed: `layers.conv1.std`, before and after."""

    target: str
    name: str
    before: float | None
    after: float | None


@dataclass(frozen=True)
class Differences:
    """The comparison of an old and a new report.

    Attributes:
        new, fixed, unchanged: findings by fingerprint within their target.
        unknown: findings of the old report whose target or rule the new one did not evaluate.
        moved: measurements of targets in both reports.
    """

    new: tuple[Located, ...]
    fixed: tuple[Located, ...]
    unchanged: tuple[Located, ...]
    unknown: tuple[Located, ...]
    moved: tuple[Moved, ...]


def compare(old: Report, new: Report) -> Differences:
    """Compare two reports of the same targets."""
    before, after = _by_identity(old), _by_identity(new)
    gone = [found for key, found in before.items() if key not in after]
    return Differences(
        new=tuple(found for key, found in after.items() if key not in before),
        fixed=tuple(found for found in gone if _was_evaluated(found, new)),
        unchanged=tuple(found for key, found in after.items() if key in before),
        unknown=tuple(found for found in gone if not _was_evaluated(found, new)),
        moved=tuple(_moved(old, new)),
    )


def _by_identity(report: Report) -> dict[tuple[str, str, int], Located]:
    """The findings by target and fingerprint; equal ones are numbered."""
    found: dict[tuple[str, str, int], Located] = {}
    for result in report.results:
        for finding in result.findings:
            number = 0
            while (result.target, finding.fingerprint, number) in found:
                number += 1
            found[result.target, finding.fingerprint, number] = Located(result.target, finding)
    return found


def _was_evaluated(found: Located, report: Report) -> bool:
    for result in report.results:
        if result.target == found.target:
            return result.status == "ok" and found.finding.code not in {skipped.code for skipped in result.skipped}
    return False


def _moved(old: Report, new: Report) -> Iterator[Moved]:
    measured = {result.target: dict(_numbers(result.measurements)) for result in old.results}
    for result in new.results:
        if result.target not in measured:
            continue
        before, after = measured[result.target], dict(_numbers(result.measurements))
        for name in {**before, **after}:
            if not _same(before.get(name), after.get(name)):
                yield Moved(result.target, name, before.get(name), after.get(name))


def _numbers(measurements: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers worth comparing: the scalars, and the layer table by layer and column."""
    for name, value in measurements.items():
        if _is_number(value):
            yield name, float(value)
    for row in measurements.get("layers") or []:
        for column, value in row.items():
            if _is_number(value):
                yield f"layers.{row.get('layer')}.{column}", float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _same(before: float | None, after: float | None) -> bool:
    if before is None or after is None:
        return before is after
    return math.isclose(before, after, rel_tol=TOLERANCE, abs_tol=1e-12)
