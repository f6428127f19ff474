"""The picture of the observed iterations, in a browser, made from scripts that `nnlint run` watched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nnlint.cli import main
from nnlint.finding import Level
from nnlint.report import Report, ReportedFinding, SourceLocation, TargetReport
from nnlint.reporters.html.timeline import timeline_view
from nnlint.testing.scripts import observe_source
from nnlint.timeline import timeline_of
from tests.observe import scripts
from tests.reporters.page import HOSTILE, Page

pytestmark = pytest.mark.xdist_group("browser")


def _result(source: str, *findings: ReportedFinding) -> TargetReport:
    made = timeline_of(observe_source(source).events)
    return TargetReport(target="train.py", findings=list(findings), measurements={"timeline": made})


def _at(line: str, code: str = "STP001", level: Level = Level.ERROR) -> ReportedFinding:
    file, _, number = line.rpartition(":")
    place = SourceLocation(file=file, line=int(number))
    return ReportedFinding(code=code, name="a-b", level=level, message="m", location=place, fingerprint=code)


def _line_of(result: TargetReport, kind: str) -> str:
    events = result.measurements["timeline"]["events"]
    return str(next(event["line"] for event in events if event["kind"] == kind))


def _texts(shown: Page, selector: str) -> list[str]:
    return list(shown.page.eval_on_selector_all(selector, "items => items.map(i => i.lastChild.textContent)"))


@pytest.mark.parametrize(("width", "dark"), [(375, True), (800, False), (1400, False)])
def test_lanes_symbols_and_the_finding_are_drawn(browser: Any, tmp_path: Path, width: int, dark: bool) -> None:
    result = _result(scripts.GAN)
    steps = sum(event["kind"] == "step" for event in result.measurements["timeline"]["events"])
    result.findings.append(_at(_line_of(result, "step")))
    shown = Page(browser, Report(nnlint="0.1.0", results=[result]), tmp_path, width=width, dark=dark)
    assert _texts(shown, ".names .lane") == ["optimizerD (Adam)", "optimizerG (Adam)"]
    assert shown.page.locator(".timeline .step").count() == steps
    assert shown.page.locator(".timeline .ring.error").count() == steps // 2, (
        "one of the two steps is at the finding's line"
    )
    assert shown.page.locator(".timeline polyline").count() == 4, "a curve for each line of a lane that has a loss"
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
    assert shown.noise == []
    colors = shown.page.eval_on_selector_all(
        ".timeline .event path", "items => items.map(i => getComputedStyle(i).fill)"
    )
    assert len(set(colors)) >= 3


def test_the_mark_leads_to_the_finding(browser: Any, tmp_path: Path) -> None:
    result = _result(scripts.NOT_CLEARED)
    result.findings += [_at(_line_of(result, "backward"), "AAA001", Level.INFO), _at(_line_of(result, "step"))]
    shown = Page(browser, Report(nnlint="0.1.0", results=[result]), tmp_path)
    marks = shown.page.locator(".timeline a")
    assert marks.count() == 1, "an info is not marked"
    marks.first.focus()
    shown.page.keyboard.press("Enter")
    assert shown.page.url.endswith("#target-0-finding-1")


def test_the_table_tells_the_events_in_order(browser: Any, tmp_path: Path) -> None:
    result = _result(scripts.PLAIN)
    shown = Page(browser, Report(nnlint="0.1.0", results=[result]), tmp_path)
    shown.page.click(".timeline summary")
    rows = shown.page.locator(".timeline tbody tr").all_inner_texts()
    assert len(rows) == len(result.measurements["timeline"]["events"])
    assert [row.split("\t")[2] for row in rows[-5:]] == ["read", "zero_grad", "forward", "backward", "step"]
    assert "lr 0.1" in next(row for row in rows if "\tstep\t" in row)


def test_a_rate_is_written_where_it_changes_and_an_evaluation_is_shaded() -> None:
    events = [
        {"kind": "backward", "iteration": 0, "epoch": 0, "line": "t.py:1", "lanes": ["o"], "loss": 2.0},
        {"kind": "step", "iteration": 0, "epoch": 0, "line": "t.py:2", "lanes": ["o"], "lr": [0.1]},
        {"kind": "forward", "iteration": 1, "epoch": 1, "line": "t.py:3", "lanes": ["o"], "evaluation": True},
        {"kind": "read", "iteration": 1, "epoch": 1, "line": "t.py:4", "lanes": [], "loader": "val"},
        {"kind": "forward", "iteration": 1, "epoch": 1, "line": "t.py:3", "lanes": ["o"], "evaluation": True},
        {"kind": "step", "iteration": 1, "epoch": 1, "line": "t.py:2", "lanes": ["o"], "lr": [0.1]},
        {"kind": "step", "iteration": 2, "epoch": 1, "line": "t.py:2", "lanes": ["o"], "lr": [0.01]},
    ]
    measured = {"timeline": {"lanes": [{"optimizer": "o", "type": "SGD"}], "events": events}}
    view = timeline_view(TargetReport(target="t.py", measurements=measured), "target-0")
    assert view is not None
    assert [text["text"] for text in view["texts"]] == ["0.1", "0.01"]
    (evaluation,) = [band for band in view["bands"] if band["kind"] == "evaluation"]
    column = evaluation["width"] / 3
    assert evaluation["x"] == pytest.approx(2 * column)
    assert [epoch["text"] for epoch in view["epochs"]] == ["1", "2"]


def test_a_loss_that_is_no_number_leaves_a_gap() -> None:
    event = {"kind": "backward", "iteration": 0, "epoch": 0, "line": "t.py:1", "lanes": ["o"], "loss": "nan"}
    measured = {"timeline": {"lanes": [{"optimizer": "o", "type": "o"}], "events": [event]}}
    view = timeline_view(TargetReport(target="t.py", measurements=measured), "target-0")
    assert view is not None
    assert view["curves"] == []
    assert "loss nan" in view["symbols"][0]["title"]


def test_hostile_names_do_nothing(browser: Any, tmp_path: Path) -> None:
    result = _result(scripts.PLAIN)
    found = result.measurements["timeline"]
    found["lanes"][0]["optimizer"] = found["lanes"][0]["type"] = HOSTILE
    for event in found["events"]:
        event |= {
            "line": f"{HOSTILE}:1",
            "loader": HOSTILE,
            "module": HOSTILE,
            "kind": event["kind"] if event["kind"] != "step" else HOSTILE,
        }
        event["lanes"] = [HOSTILE]
    result.findings.append(_at(f"{HOSTILE}:1", HOSTILE))
    shown = Page(browser, Report(nnlint="0.1.0", results=[result]), tmp_path)
    assert shown.page.title() == "nnlint report"
    assert shown.page.query_selector("img") is None
    assert shown.noise == []


def test_a_target_that_is_no_script_has_no_timeline() -> None:
    assert timeline_view(TargetReport(target="clean.py:build"), "target-0") is None


def test_a_run_writes_the_page_with_its_timeline_and_histograms(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text(scripts.NOT_CLEARED)
    result = CliRunner().invoke(main, ["run", "--output", "report.html", "train.py"])
    assert result.exit_code == 1, result.stderr
    page = browser.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    page.wait_for_selector("html[data-ready]")
    assert page.locator(".timeline .step .ring").count() == page.locator(".timeline .step").count() > 3
    assert page.locator("svg.spark path").count() > 3
