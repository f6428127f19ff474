"""`nnlint diff`: new, fixed, unchanged and not evaluated findings, and measurements that moved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from nnlint.cli import main
from nnlint.finding import Level
from nnlint.report import Report, ReportedFinding, Skipped, TargetReport


def _found(code: str, mark: str, level: Level = Level.ERROR) -> ReportedFinding:
    return ReportedFinding(code=code, name="a-b", level=level, message="m", fingerprint=mark)


def _write(file: Path, result: TargetReport) -> str:
    file.write_text(Report(nnlint="0.1.0", results=[result]).model_dump_json())
    return str(file)


@pytest.fixture
def reports(tmp_path: Path) -> tuple[str, str]:
    old = TargetReport(
        target="t",
        findings=[_found("LOS001", "1"), _found("SIG001", "2"), _found("TRN006", "3")],
        measurements={"initial_loss": 2.3, "layers": [{"layer": "fc", "std": 1.0, "gradient": None}]},
    )
    new = TargetReport(
        target="t",
        findings=[_found("LOS001", "1"), _found("GRD001", "4", Level.WARNING)],
        skipped=[Skipped(code="TRN006", reason="no validation data")],
        measurements={"initial_loss": 2.31, "layers": [{"layer": "fc", "std": 0.1, "gradient": 1e-3}]},
    )
    return _write(tmp_path / "old.json", old), _write(tmp_path / "new.json", new)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["diff", *arguments])


def test_findings_by_what_became_of_them(reports: tuple[str, str]) -> None:
    found = json.loads(run(*reports, "--format", "json").stdout)
    codes = {name: [item["code"] for item in found[name]] for name in ("new", "fixed", "unchanged", "not_evaluated")}
    assert codes == {"new": ["GRD001"], "fixed": ["SIG001"], "unchanged": ["LOS001"], "not_evaluated": ["TRN006"]}


def test_measurements_that_moved(reports: tuple[str, str]) -> None:
    moved = {
        item["name"]: (item["before"], item["after"])
        for item in json.loads(run(*reports, "--format", "json").stdout)["moved"]
    }
    assert moved == {"layers.fc.std": (1.0, 0.1), "layers.fc.gradient": (None, 1e-3)}
    assert "t  layers.fc.std: 1 -> 0.1" in run(*reports).stdout


@pytest.mark.parametrize(("fail_on", "status"), [("error", 0), ("warning", 1), ("never", 0)])
def test_only_new_findings_fail(reports: tuple[str, str], fail_on: str, status: int) -> None:
    done = run(*reports, "--fail-on", fail_on)
    assert done.exit_code == status
    assert done.stdout.endswith("1 new, 1 fixed, 1 unchanged\n")


def test_an_incomplete_new_check_never_passes(reports: tuple[str, str], tmp_path: Path) -> None:
    assert run(reports[0], _write(tmp_path / "failed.json", TargetReport(target="t", status="failed"))).exit_code == 2


@pytest.mark.parametrize(
    ("text", "said"), [(None, "No such file"), ("{}", "is not a report"), ("\x00", "is not a report")]
)
def test_files_that_are_no_reports(reports: tuple[str, str], tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "other.json"
    if text is not None:
        file.write_text(text)
    done = run(reports[0], str(file))
    assert done.exit_code == 2
    assert said in done.stderr
