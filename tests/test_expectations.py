"""The comments of the fixtures are read as meant, and a report that departs from them does not pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnlint.finding import Level
from nnlint.report import ReportedFinding, Skipped, TargetReport
from nnlint.testing.expectations import Build, Expected, faults, read_builds

SAMPLE = """
# settings: seed=3
def build_a():  # expect: LOS001 at 3, ARC001 info
    pass


# expect: ARC020 at
# skipped: OPT001 no optimizer
def build_b():
    pass


def build_c():  # silent
    pass
"""


def test_comments_belong_to_their_build_function(tmp_path: Path) -> None:
    file = tmp_path / "sample.py"
    file.write_text(SAMPLE)
    a, b, c = read_builds(file)
    assert a.expected == [Expected("LOS001", None, "3"), Expected("ARC001", Level.INFO, None)]
    assert a.check_settings().seed == 3
    assert (b.expected, b.skipped) == ([Expected("ARC020", None, "")], {"OPT001": "no optimizer"})
    assert c.silent
    assert not c.expected


@pytest.mark.parametrize("text", ["LOS1", "LOS001 fatal", "LOS001 at a b", "loss001"])
def test_malformed_comment_is_an_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "sample.py"
    file.write_text(f"def build():  # expect: {text}\n    pass\n")
    with pytest.raises(ValueError, match="expect: CODE"):
        read_builds(file)


def test_comment_without_owner_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "sample.py"
    file.write_text("# expect: LOS001\nx = 1\n\n\ndef build_a(): ...\n\n\ndef build_b(): ...\n")
    with pytest.raises(ValueError, match="none of the build functions"):
        read_builds(file)


def test_departures_are_named(tmp_path: Path) -> None:
    levels = {"LOS001": Level.ERROR, "ARC001": Level.WARNING}
    build = Build(tmp_path / "x.py", "build", 1, 2, [Expected("LOS001", None, "3")], {"OPT001": "no optimizer"})
    right = ReportedFinding(code="LOS001", name="a", level=Level.ERROR, message="m", module="3")
    skipped = Skipped(code="OPT001", reason="no optimizer given")
    assert faults(build, TargetReport(target="t", findings=[right], skipped=[skipped]), levels) == []

    elsewhere = right.model_copy(update={"module": "2"})
    lower = right.model_copy(update={"level": Level.INFO})
    other = ReportedFinding(code="ARC001", name="b", level=Level.WARNING, message="m")
    for findings, count in (([], 1), ([elsewhere], 2), ([lower], 1), ([right, other], 1), ([right, elsewhere], 1)):
        said = faults(build, TargetReport(target="t", findings=findings, skipped=[skipped]), levels)
        assert len(said) == count, said
    assert len(faults(build, TargetReport(target="t", findings=[right]), levels)) == 1
    failed = TargetReport(target="t", status="failed", findings=[right], skipped=[skipped])
    assert faults(build, failed, levels) == ["status failed"]
