"""`nnlint baseline` and `nnlint check --baseline`: what is known is left out, what is gone is told, nothing unchecked is accepted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nnlint.cli import main


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_known_findings_no_longer_fail(stub: Path) -> None:
    assert run("check", "fine").exit_code == 1
    written = run("baseline", "fine")
    assert (written.exit_code, written.stdout) == (0, "nnlint-baseline.json: 1 known findings\n")
    done = run("check", "fine", "--baseline", "nnlint-baseline.json", "--format", "json")
    assert done.exit_code == 0
    (result,) = json.loads(done.stdout)["results"]
    assert result["findings"] == []
    assert "1 known finding from the baseline hidden" in result["assumptions"]


def test_a_finding_of_another_target_is_new(stub: Path) -> None:
    run("baseline", "fine")
    assert run("check", "other", "--baseline", "nnlint-baseline.json").exit_code == 1


def test_the_configuration_names_the_file_and_may_come_first(stub: Path) -> None:
    (stub / "pyproject.toml").write_text('[tool.nnlint]\ntargets = ["fine"]\nbaseline = "known/base.json"\n')
    (stub / "known").mkdir()
    missing = run("check")
    assert missing.exit_code == 2
    assert "nnlint baseline" in missing.stderr
    assert run("baseline").exit_code == 0
    assert (stub / "known" / "base.json").is_file()
    assert run("check").exit_code == 0


def test_entries_that_are_gone_are_told_and_dropped(stub: Path) -> None:
    run("baseline", "fine")
    content = json.loads((stub / "nnlint-baseline.json").read_text())
    gone = {**content["findings"][0], "fingerprint": "ffff", "code": "SIG001", "module": "old"}
    skipped = {**gone, "fingerprint": "eeee", "code": "TRN006"}
    elsewhere = {**gone, "fingerprint": "dddd", "target": "another"}
    content["findings"] += [gone, skipped, elsewhere]
    (stub / "nnlint-baseline.json").write_text(json.dumps(content))
    said = run("check", "fine", "--baseline", "nnlint-baseline.json").stderr
    assert "SIG001 softmax-before-cross-entropy at old of fine" in said
    assert "TRN006" not in said, "its rule was skipped: nobody knows"
    assert "another" not in said, "it was not checked"
    rewritten = run("baseline", "fine")
    assert "gone: SIG001 softmax-before-cross-entropy at old of fine" in rewritten.stdout
    left = json.loads((stub / "nnlint-baseline.json").read_text())["findings"]
    assert sorted(entry["target"] for entry in left) == ["another", "fine"]


def test_a_finding_that_comes_twice_is_new_the_second_time(stub: Path) -> None:
    from nnlint import baseline
    from nnlint.finding import Level
    from nnlint.report import Report, ReportedFinding, TargetReport

    finding = ReportedFinding(code="LOS001", name="a", level=Level.ERROR, message="m", fingerprint="ff")
    known = baseline.of_report(Report(nnlint="0", results=[TargetReport(target="t", findings=[finding])]))
    twice = TargetReport(target="t", findings=[finding, finding])
    (left,) = baseline.apply([twice], known).results
    assert left.findings == [finding]
    counted = baseline.of_report(Report(nnlint="0", results=[twice]))
    assert [entry.count for entry in counted.findings] == [2]
    assert baseline.apply([twice], counted).results[0].findings == []


@pytest.mark.parametrize("target", ["crash", "hang"])
def test_what_could_not_be_checked_is_never_accepted(stub: Path, target: str) -> None:
    done = run("baseline", target, "--timeout", "5s")
    assert done.exit_code == 2
    assert "was not written" in done.stderr
    assert not (stub / "nnlint-baseline.json").exists()


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"version": 9}', '{"version": 1, "findings": [{"code": 3}]}'])
def test_a_broken_file_is_refused_before_anything_runs(stub: Path, text: str) -> None:
    (stub / "broken.json").write_text(text)
    done = run("check", "hang", "--baseline", "broken.json")
    assert done.exit_code == 2
    assert "is not an nnlint baseline" in done.stderr
