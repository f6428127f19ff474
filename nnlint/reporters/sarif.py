"""SARIF 2.1.0, for code scanning."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from nnlint.finding import Level
from nnlint.report import Report, ReportedFinding
from nnlint.reporters.json import plain
from nnlint.reporters.options import ReportOptions
from nnlint.reporters.rows import Row, rows
from nnlint.rule import Rule

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {Level.ERROR: "error", Level.WARNING: "warning", Level.INFO: "note"}


def render(report: Report, options: ReportOptions) -> str:
    """One run with all targets; skipped rules are notifications, so that a clean run tells what it did not check."""
    table = [(row, row.finding) for row in rows(report, options) if row.finding is not None]
    rules = _rules([finding for _, finding in table], options.rules)
    index = {rule["id"]: number for number, rule in enumerate(rules)}
    run = {
        "tool": {
            "driver": {"name": "nnlint", "version": report.nnlint, "semanticVersion": report.nnlint, "rules": rules}
        },
        "columnKind": "unicodeCodePoints",
        "results": [_result(row, finding, index[finding.code]) for row, finding in table],
        "invocations": [_invocation(report)],
    }
    return (
        json.dumps(plain({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}), indent=2, ensure_ascii=False) + "\n"
    )


def _rules(findings: list[ReportedFinding], known: tuple[Rule, ...]) -> list[dict[str, Any]]:
    """Metadata of the known rules, and what the findings say of those that have no rule behind them (RUN)."""
    described = {rule.code: _described(rule) for rule in known}
    for finding in findings:
        level = _LEVELS[finding.level]
        described.setdefault(
            finding.code,
            {
                "id": finding.code,
                "name": finding.name,
                "shortDescription": {"text": finding.name or finding.code},
                "defaultConfiguration": {"level": level},
            },
        )
    return [described[code] for code in sorted(described)]


def _described(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "name": rule.name,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.summary},
        "help": {"text": rule.doc, "markdown": rule.doc},
        "defaultConfiguration": {"level": _LEVELS[rule.level]},
        "properties": {"since": rule.since, "needs": list(rule.needs)},
    }


def _result(row: Row, finding: ReportedFinding, index: int) -> dict[str, Any]:
    logical = {"fullyQualifiedName": f"{row.target}/{row.module}".rstrip("/"), "kind": "module"}
    file, line = row.anchor
    # GitHub refuses the whole file for one result without a place in the repository.
    physical = {"artifactLocation": {"uri": quote(file), "uriBaseId": "%SRCROOT%"}, "region": {"startLine": line}}
    is_elsewhere = row.file is not None and (row.file, row.line) != row.anchor
    return {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": _LEVELS[finding.level],
        "message": {"text": f"{row.text}\nat {row.place}" if is_elsewhere else row.text},
        "locations": [{"physicalLocation": physical, "logicalLocations": [logical]}],
        "partialFingerprints": {"nnlint/v1": finding.fingerprint} if finding.fingerprint else {},
        "properties": {
            "target": row.target,
            "module": finding.module,
            "confidence": finding.confidence,
            "evidence": finding.evidence,
        },
    }


def _invocation(report: Report) -> dict[str, Any]:
    skipped = [
        {
            "level": "note",
            "message": {"text": f"{skip.code} was skipped for {result.target}: {skip.reason}"},
            "associatedRule": {"id": skip.code},
        }
        for result in report.results
        for skip in result.skipped
    ]
    failed = [
        {"level": "error", "message": {"text": f"{result.target} could not be checked"}}
        for result in report.results
        if result.status == "failed"
    ]
    return {
        "executionSuccessful": bool(report.results) and not failed,
        "toolExecutionNotifications": [*failed, *skipped],
    }
