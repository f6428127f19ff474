"""All formats show the same findings, and nothing that user code is called becomes markup."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest

from nnlint.finding import Level
from nnlint.report import Report, ReportedFinding, SourceLocation, TargetReport
from nnlint.reporters import render
from nnlint.reporters.options import ReportOptions

HOSTILE = "<script>alert('x')</script>|`*_[a](http://x)\x00\x1b[31m\n::error::"


def _sarif(text: str) -> set[str]:
    return {result["ruleId"] for run in json.loads(text)["runs"] for result in run["results"]}


def _junit(text: str) -> set[str]:
    cases = ET.fromstring(text).iter("testcase")
    return {case.get("name", "").split()[0] for case in cases if case.find("skipped") is None}


READ: dict[str, Callable[[str], set[str]]] = {
    "text": lambda text: set(re.findall(r"^\s*(?:error|warning|info) ([A-Z]{3}\d{3})", text, flags=re.MULTILINE)),
    "json": lambda text: {found["code"] for result in json.loads(text)["results"] for found in result["findings"]},
    "jsonl": lambda text: {json.loads(line)["code"] for line in text.splitlines()},
    "sarif": _sarif,
    "github": lambda text: set(re.findall(r"title=([A-Z]{3}\d{3})", text)),
    "gitlab": lambda text: {issue["check_name"].split()[0] for issue in json.loads(text)},
    "junit": _junit,
    "markdown": lambda text: set(re.findall(r"^\| \S+ \w+ \| ([A-Z]{3}\d{3})", text, flags=re.MULTILINE)),
}


@pytest.mark.parametrize("style", READ)
def test_every_format_shows_the_same_findings(report: Report, style: str) -> None:
    assert READ[style](render(style, report, ReportOptions())) == {"LOS002", "ARC024", "INI010"}


@pytest.fixture
def hostile() -> Report:
    finding = ReportedFinding(
        code="LOS001",
        name="x",
        level=Level.ERROR,
        message=HOSTILE,
        module=HOSTILE,
        fix=HOSTILE,
        location=SourceLocation(file="a.py", line=0),
    )
    return Report(nnlint="0.1.0", results=[TargetReport(target=HOSTILE, findings=[finding])])


@pytest.mark.parametrize("style", ["junit", "gitlab", "markdown", "jsonl", "github", "sarif"])
def test_hostile_names_stay_text(hostile: Report, style: str) -> None:
    text = render(style, hostile, ReportOptions())
    assert READ[style](text) == {"LOS001"}
    assert style == "github" or "\x1b" not in text
    if style == "markdown":
        assert "<script>" not in text.replace("\\<script\\>", "")
        rows = [line for line in text.splitlines() if line.startswith("| 🔴")]
        assert len(rows) == 1
        assert len(re.findall(r"(?<!\\)\|", rows[0])) == 5, "a name must not add a column"


def test_junit_counts(report: Report) -> None:
    (suite,) = ET.fromstring(render("junit", report, ReportOptions()))
    assert suite.get("name") == "mymodel:build_fn"
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6",
        "failures": "2",
        "errors": "0",
        "skipped": "3",
    }
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert (failure.text or "").startswith("mymodel.py:8\n")


@pytest.mark.parametrize("style", ["junit", "gitlab", "markdown", "jsonl"])
def test_a_target_that_failed_silently_is_told(style: str) -> None:
    report = Report(nnlint="0.1.0", results=[TargetReport(target="m:f", status="failed")])
    text = render(style, report, ReportOptions())
    assert "could not be checked" in text.lower()
    if style == "junit":
        (suite,) = ET.fromstring(text)
        assert suite.get("errors") == "1"


def test_a_clean_target_is_a_passed_case() -> None:
    report = Report(nnlint="0.1.0", results=[TargetReport(target="m:f")])
    (suite,) = ET.fromstring(render("junit", report, ReportOptions()))
    assert [case.get("name") for case in suite] == ["no findings"]
    assert "No findings" in render("markdown", report, ReportOptions())
    assert render("jsonl", report, ReportOptions()) == ""


def test_gitlab_puts_a_finding_without_a_line_at_the_targets_file() -> None:
    finding = ReportedFinding(code="OPT001", name="x", level=Level.WARNING, message="m", fingerprint="ff")
    for target, path in (("pkg.mod:build", "pkg/mod.py"), ("a/b.py:build", "a/b.py")):
        report = Report(nnlint="0.1.0", results=[TargetReport(target=target, findings=[finding])])
        (issue,) = json.loads(render("gitlab", report, ReportOptions()))
        assert issue["location"] == {"path": path, "lines": {"begin": 1}}
        assert issue["fingerprint"] == "ff"
        assert issue["severity"] == "minor"
