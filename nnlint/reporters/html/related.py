"""Which findings belong to which chart: those whose rule judges what the chart shows. No rule is named; their evidence tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from nnlint import registry
from nnlint.finding import Level
from nnlint.report import ReportedFinding, TargetReport
from nnlint.rule import Rule

#: The evidence that a chart shows; a rule that asks for all of it judges the chart.
_EVIDENCE: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "steps": frozenset({"StepStats"}),
        "overfit": frozenset({"OverfitRun"}),
        "learning-rates": frozenset({"LearningRateRange"}),
        "precision": frozenset({"PrecisionStats"}),
        "initial-loss": frozenset({"LossCalls", "Parameters"}),
    }
)
#: Words of a rule's name that make it belong to a chart as well, whatever it measures, with its families.
_WORDS: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {"learning-rates": ("learning-rate", ("OPT",)), "classes": ("class", ("DAT", "LOS"))}
)
#: Charts of one loss: rules of other families that ask for the same evidence look at other things in it.
_FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType({"initial-loss": ("LOS",), "steps": ("OPT", "TRN")})


def related(result: TargetReport) -> dict[str, list[tuple[int, ReportedFinding]]]:
    """By chart: the warnings and errors that belong to it by what their rules ask for, with their numbers in the report."""
    shown = [(number, found) for number, found in enumerate(result.findings) if found.level is not Level.INFO]
    rules = {rule.code: rule for rule in registry.load().rules} if shown else {}
    return {
        chart: [(number, found) for number, found in shown if found.code in rules and _judges(rules[found.code], chart)]
        for chart in {**_EVIDENCE, **_WORDS}
    }


def _judges(rule: Rule, chart: str) -> bool:
    word, families = _WORDS.get(chart, ("", ()))
    if word and word in rule.name and rule.family in families:
        return True
    wanted = _EVIDENCE.get(chart)
    return (
        wanted is not None
        and wanted <= set(rule.evidence.values())
        and rule.family in _FAMILIES.get(chart, (rule.family,))
    )


def findings_by_layer(
    findings: Iterable[ReportedFinding], rows: Sequence[Mapping[str, Any]]
) -> list[tuple[int, ReportedFinding]]:
    """Each finding with the positions of the layers that it is about, in the order of the findings.

    A layer is known by its module; a function that the model itself calls, by its line.
    """
    return [
        (position, finding)
        for finding in findings
        for position, row in enumerate(rows)
        if _is_about(finding, row)
    ]


def _is_about(finding: ReportedFinding, row: Mapping[str, Any]) -> bool:
    name, line = str(row.get("layer") or ""), row.get("line")
    if name and name in {finding.module, *finding.modules}:
        return True
    place = finding.location
    return bool(line) and not finding.module and place is not None and line == f"{place.file}:{place.line}"
