"""JSON, SARIF and GitHub; the JSON Schema."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import jsonschema
import pytest

from nnlint.finding import Level
from nnlint.report import Report, ReportedFinding, SourceLocation, TargetReport
from nnlint.reporters import REPORTERS, render
from nnlint.reporters.json import plain
from nnlint.reporters.options import ReportOptions


@pytest.fixture(scope="module")
def schema(repository: Path) -> dict[str, object]:
    return json.loads((repository / "docs" / "reference" / "report.schema.json").read_text(encoding="utf-8"))


def test_the_schema_is_fresh(repository: Path):
    made = runpy.run_path(str(repository / "scripts" / "gen_schema.py"))
    assert (made["FOLDER"] / "report.schema.json").read_text(encoding="utf-8") == made["schema"](), "run scripts/gen_schema.py"


def test_json_is_valid_against_its_schema_and_comes_back(report: Report, schema):
    text = render("json", report, ReportOptions())
    content = json.loads(text, parse_constant=pytest.fail)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(content, schema, cls=jsonschema.Draft202012Validator)
    assert Report.model_validate(content).findings[0].evidence == {"floor": 1.461, "ratio": "inf"}
    assert render("json", Report.model_validate(content), ReportOptions()) == text


def test_the_schema_refuses_another_shape(report: Report, schema):
    content = json.loads(render("json", report, ReportOptions()))
    content["results"][0]["findings"][0]["level"] = "fatal"
    with pytest.raises(jsonschema.ValidationError, match="fatal"):
        jsonschema.validate(content, schema)


def test_plain_values():
    value = {1: (Level.ERROR, float("-inf"), {"b", "a"}), "path": Path("x"), "yes": True}
    assert plain(value) == {"1": ["error", "-inf", ["a", "b"]], "path": "x", "yes": True}


def test_sarif(report: Report, folder: Path):
    absolute = report.results[0].findings[2]
    absolute.location = SourceLocation(file=str(folder / "mymodel.py"), line=6)
    (run,) = json.loads(render("sarif", report, ReportOptions()))["runs"]
    error, note, warning = run["results"]
    assert [result["level"] for result in run["results"]] == ["error", "note", "warning"]
    assert [run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] for result in run["results"]] == [
        "LOS002",
        "INI010",
        "ARC024",
    ]
    place = {"artifactLocation": {"uri": "mymodel.py", "uriBaseId": "%SRCROOT%"}, "region": {"startLine": 6}}
    assert warning["locations"][0]["physicalLocation"] == place
    assert note["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "mymodel.py"  # of the target: it has no line
    assert note["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "mymodel:build_fn/fc1"
    assert error["partialFingerprints"] == {"nnlint/v1": "00112233445566aa"}
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is True
    assert [entry["associatedRule"]["id"] for entry in invocation["toolExecutionNotifications"]] == [
        "DAT011",
        "OPT012",
        "TRN006",
    ]


def test_sarif_of_a_failed_target():
    report = Report(nnlint="0.1.0", results=[TargetReport(target="m:f", status="failed")])
    (run,) = json.loads(render("sarif", report, ReportOptions()))["runs"]
    assert run["invocations"][0]["executionSuccessful"] is False


def test_github_escapes():
    finding = ReportedFinding(
        code="LOS001",
        name="x",
        level=Level.INFO,
        message="100 % bad,\nreally: bad",
        location=SourceLocation(file="a,b:c.py", line=4),
    )
    report = Report(nnlint="0.1.0", results=[TargetReport(target="m:f", findings=[finding])])
    assert render("github", report, ReportOptions()) == (
        "::notice file=a%2Cb%3Ac.py,line=4,title=LOS001 x::100 %25 bad,%0Areally: bad [m:f]\n"
    )


def test_github_tells_of_a_target_that_failed_silently():
    report = Report(nnlint="0.1.0", results=[TargetReport(target="m:f", status="failed")])
    assert render("github", report, ReportOptions()) == "::error title=nnlint::m:f could not be checked\n"


@pytest.mark.parametrize("style", REPORTERS)
def test_reporters_are_pure(report: Report, style: str):
    before = report.model_dump_json()
    assert render(style, report, ReportOptions()) == render(style, report, ReportOptions())
    assert report.model_dump_json() == before
