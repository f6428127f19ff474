"""The HTML report, in a browser: charts are drawn, filters and keys work, nothing is loaded, no name becomes markup."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import nnlint
from nnlint.finding import Level
from nnlint.report import Report, ReportedFinding, SourceLocation, TargetReport
from nnlint.reporters import render
from nnlint.reporters.html.charts import charts_of, sparkline
from nnlint.reporters.html.operations import neighbourhood
from nnlint.reporters.options import ReportOptions
from tests.reporters.page import HOSTILE, Page

# One process starts the browser once for all tests here.
pytestmark = pytest.mark.xdist_group("browser")


def _layers(count: int = 6) -> list[dict[str, Any]]:
    histogram = [0] * 40 + [1, 5, 20, 60, 90, 60, 20, 5] + [0] * 16
    return [
        {
            "layer": f"blocks.{index}.fc",
            "op": "linear",
            "std": 0.5 * 0.5**index,
            "zeros": 0.5,
            "dead": 0.1,
            "saturated": None,
            "gradient": 1e-6 * 3**index,
            "update": 1e-3,
            "histograms": {"activation": histogram, "weight": histogram, "gradient": histogram},
        }
        for index in range(count)
    ]


def _measured(count: int = 6) -> dict[str, Any]:
    curve = [2.3, 2.1, 1.7, 1.2]
    return {
        "layers": _layers(count),
        "initial_loss": 2.3,
        "classes": [3, 4, 5],
        "steps": {"losses": curve, "chance": 2.303, "optimizer": "Adam", "learning_rate": 1e-3},
        "overfit": {"rungs": [{"optimizer": "Adam", "learning_rate": 1e-3, "losses": curve}], "in_words": "fits"},
        "lr-range": {
            "rates": [1e-5, 1e-4, 1e-3, 1e-2],
            "losses": curve,
            "smoothed": curve,
            "configured": 1e-3,
            "suggestion": 3e-3,
            "interval": [1e-4, 1e-2],
        },
        "precision": {"layers": [{"module_path": "blocks.0.fc", "label": "x", "relative_error": 1e-3}]},
        "modules": [
            {"path": "", "type": "Net", "parameters": 0, "line": None},
            {"path": "blocks", "type": "ModuleList", "parameters": 0, "line": None},
            {"path": "blocks.0", "type": "Block", "parameters": 0, "line": None},
            {"path": "blocks.0.fc", "type": "Linear", "parameters": 110, "line": "net.py:3"},
        ],
        "operations": [
            {"op": "x", "module": "", "type": "", "shape": [8, 10], "line": None, "loss": False, "inputs": []},
            {
                "op": "linear",
                "module": "blocks.0.fc",
                "type": "Linear",
                "shape": [8, 10],
                "line": None,
                "loss": False,
                "inputs": [0],
            },
            {
                "op": "relu",
                "module": "blocks.0",
                "type": "Block",
                "shape": [8, 10],
                "line": None,
                "loss": False,
                "inputs": [1],
            },
        ],
    }


def _finding(
    code: str, level: Level, module: str = "blocks.0.fc", message: str = "the gradient vanishes"
) -> ReportedFinding:
    return ReportedFinding(
        code=code, name="a-b", level=level, message=message, module=module, fix="use nn.ReLU()", fingerprint=code
    )


@pytest.fixture
def drawn() -> Report:
    findings = [
        _finding("GRD001", Level.ERROR),
        _finding("SIG002", Level.WARNING, "blocks.1.fc"),
        _finding("INI001", Level.INFO),
    ]
    result = TargetReport(target="net.py:build", findings=findings, measurements=_measured(), subject={"model": "Net"})
    return Report(nnlint="0.1.0", torch="2.13.0", results=[result, TargetReport(target="clean.py:build")]).summarized()


@pytest.mark.parametrize(("width", "dark"), [(390, True), (800, False), (1400, False)])
def test_every_chart_is_drawn_without_a_request_or_an_error(
    browser: Any, drawn: Report, tmp_path: Path, width: int, dark: bool
):
    shown = Page(browser, drawn, tmp_path, width=width, dark=dark)
    charts = shown.page.eval_on_selector_all("figure", "figures => figures.map(f => f.dataset.chart)")
    assert charts == [
        "signal-and-gradient",
        "dead-and-saturated",
        "update-ratio",
        "steps",
        "overfit",
        "learning-rates",
        "classes",
        "precision",
    ]
    painted = """figures => figures.map(f => { const c = f.querySelector('canvas');
        return new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size; })"""
    assert min(shown.page.eval_on_selector_all("figure", painted)) > 5, "a canvas is empty"
    assert shown.noise == []
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"


def test_filters_search_and_keys(browser: Any, drawn: Report, tmp_path: Path):
    shown = Page(browser, drawn, tmp_path)
    assert shown.visible() == ["GRD001", "SIG002", "INI001"]
    shown.page.click("button[data-level=warning]")
    assert shown.visible() == ["GRD001", "INI001"]
    shown.page.click("button[data-level=warning]")
    shown.page.keyboard.press("/")
    shown.page.keyboard.type("blocks.1")
    assert shown.visible() == ["SIG002"]
    shown.page.keyboard.press("Escape")
    shown.page.keyboard.press("j")
    shown.page.keyboard.press("j")
    assert shown.page.evaluate("document.activeElement.id") == "target-0-finding-1"


def test_a_layer_chosen_by_key_shows_its_histograms(browser: Any, drawn: Report, tmp_path: Path):
    shown = Page(browser, drawn, tmp_path)
    assert shown.page.query_selector(".histograms figure") is None
    shown.page.focus("tr[data-layer='blocks.2.fc']")
    shown.page.keyboard.press("Enter")
    titles = shown.page.eval_on_selector_all(".histograms h4", "items => items.map(i => i.textContent)")
    assert titles == ["Activations: blocks.2.fc", "Weights: blocks.2.fc", "Gradients of activations: blocks.2.fc"]
    assert shown.page.eval_on_selector_all("svg.spark path", "paths => paths.length") == 18
    assert shown.noise == []


def test_the_tree_shows_where_the_findings_are(browser: Any, drawn: Report, tmp_path: Path):
    shown = Page(browser, drawn, tmp_path)
    shown.page.click("details.panel:has(.tree) > summary")
    assert "110" in shown.page.inner_text(".tree")
    assert shown.page.inner_text(".tree .module[data-module='blocks.0.fc'] .tag") == "error"
    assert shown.page.inner_text(".around .here b") == "linear"


def test_hostile_names_do_nothing(browser: Any, tmp_path: Path):
    measured = _measured(2)
    measured["layers"][0]["layer"] = measured["modules"][1]["path"] = measured["operations"][1]["module"] = HOSTILE
    finding = ReportedFinding(
        code="GRD001",
        name=HOSTILE,
        level=Level.ERROR,
        message=HOSTILE,
        module=HOSTILE,
        modules=[HOSTILE],
        fix=HOSTILE,
        evidence={HOSTILE: HOSTILE},
        location=SourceLocation(file=HOSTILE, line=1, text=HOSTILE),
        trace=HOSTILE,
    )
    result = TargetReport(target=HOSTILE, findings=[finding], measurements=measured, assumptions=[HOSTILE])
    shown = Page(browser, Report(nnlint="0.1.0", results=[result]), tmp_path)
    shown.page.click("tr[data-histograms]")
    assert shown.page.title() == "nnlint report"
    assert shown.page.query_selector("img") is None
    assert shown.page.inner_text("h2") == HOSTILE
    assert shown.noise == []


def test_numbers_that_are_none_leave_a_gap() -> None:
    rows = [{"layer": "a", "std": "nan", "gradient": None}, {"layer": "b", "std": 1.0, "gradient": "inf"}]
    (chart,) = charts_of(TargetReport(target="x", measurements={"layers": rows}))
    assert [item["values"] for item in chart["series"]] == [[None, 1.0]]


def test_a_finding_marks_its_layers_in_the_charts(drawn: Report) -> None:
    scales = charts_of(drawn.results[0])[0]
    assert [(mark["x"], mark["level"]) for mark in scales["marks"]] == [(0, "error"), (1, "warning")]


def test_findings_are_marked_in_the_charts_that_their_rules_judge(browser: Any, tmp_path: Path) -> None:
    measured = _measured() | {"closed_forms": {"nothing known": 2.303, "best constant": 1.9}}
    codes = {"LOS018": "initial-loss", "TRN001": "overfit", "OPT003": "learning-rates", "DAT004": "classes"}
    findings = [_finding(code, Level.ERROR, "") for code in codes]
    result = TargetReport(target="net.py:build", findings=findings, measurements=measured)
    charts = {chart["id"]: chart for chart in charts_of(result)}
    shown = Page(browser, Report(nnlint="0.1.0", results=[result]), tmp_path)
    for code, chart in codes.items():
        assert f"{code} a-b" in {mark["label"] for mark in charts[chart]["marks"]}
        link = shown.page.locator(f"figure[data-chart={chart}] figcaption a", has_text=code)
        assert link.get_attribute("href") == f"#target-0-finding-{[*codes].index(code)}"
    assert [found["label"] for found in charts["steps"]["findings"]] == ["OPT003 a-b"]
    assert charts["learning-rates"]["marks"][-1]["x"] == 1e-3, "at the configured rate"
    assert charts["classes"]["marks"][0]["x"] == 2, "at the largest class"
    assert charts["update-ratio"]["findings"] == charts["precision"]["findings"] == []


def test_a_loss_that_explodes_is_drawn_on_a_logarithmic_axis() -> None:
    steps = {"losses": [2.0, 1e5, 3e9], "chance": 2.3, "optimizer": "SGD"}
    (chart,) = charts_of(TargetReport(target="x", measurements={"steps": steps}))
    assert chart["y"]["log"]
    (chart,) = charts_of(TargetReport(target="x", measurements={"steps": steps | {"losses": [2.0, 1.0, 0.01]}}))
    assert not chart["y"]["log"]


def test_a_finding_without_a_module_is_marked_at_the_function_of_its_line() -> None:
    rows = _layers(3)
    rows[1] |= {"layer": "relu in Net.forward", "line": "net.py:7"}
    place = SourceLocation(file="net.py", line=7)
    finding = _finding("SIG001", Level.WARNING, "").model_copy(update={"location": place})
    result = TargetReport(target="x", findings=[finding], measurements={"layers": rows})
    assert [mark["x"] for mark in charts_of(result)[0]["marks"]] == [1]
    elsewhere = finding.model_copy(update={"location": SourceLocation(file="net.py", line=8)})
    assert charts_of(result.model_copy(update={"findings": [elsewhere]}))[0]["marks"] == []


def test_an_info_is_not_marked_and_further_modules_are_marked_fainter() -> None:
    finding = _finding("GRD001", Level.ERROR).model_copy(update={"modules": ["blocks.2.fc"]})
    result = TargetReport(
        target="x", findings=[finding, _finding("INI001", Level.INFO, "blocks.3.fc")], measurements=_measured()
    )
    scales = charts_of(result)[0]
    assert [(mark["x"], mark.get("further", False)) for mark in scales["marks"]] == [(0, False), (2, True)]


def test_the_graph_around_a_finding_shows_all_that_is_read_and_what_reads_it(browser: Any, tmp_path: Path) -> None:
    inputs = {"x": [], "fc1": [0], "relu": [1], "fc2": [2], "add": [0, 3], "head": [4], "far": [5], "further": [6], "out": [7]}
    operations = [
        {"op": name, "module": name, "type": "", "shape": [8, 10], "line": None, "loss": False, "inputs": sources}
        for name, sources in inputs.items()
    ]
    finding = _finding("GRD001", Level.ERROR, "add")
    drawn = neighbourhood(finding, operations)
    assert drawn is not None
    boxes = {box["op"]: box for box in drawn["boxes"]}
    assert set(boxes) == {*inputs} - {"out"}, "three steps along the flow"
    assert [name for name, box in boxes.items() if box["here"]] == ["add"]
    columns = [boxes[name]["x"] for name in ("x", "fc1", "relu", "fc2", "add", "head")]
    assert columns == sorted(set(columns)), "each right of what it reads"
    assert len(drawn["paths"]) == 8, "the shortcut from x to add is one of them"
    measured = _measured() | {"operations": operations}
    result = TargetReport(target="x", findings=[finding], measurements=measured)
    shown = Page(browser, Report(nnlint="0.1.0", results=[result]), tmp_path, width=375)
    assert shown.page.locator(".around .box").count() == 8
    center = shown.page.locator(".around .here").bounding_box()
    assert 0 <= center["x"] <= 375 - 100, "the place of the finding is in view"
    assert shown.noise == []


def test_a_wide_neighbourhood_is_cut() -> None:
    wide = [{"op": "x", "module": "", "shape": None, "line": None, "loss": False, "inputs": []}]
    wide += [{**wide[0], "op": f"relu{index}", "module": "m", "inputs": [0]} for index in range(50)]
    wide += [{**wide[0], "op": "cat", "module": "cat", "inputs": list(range(1, 51))}]
    drawn = neighbourhood(_finding("GRD001", Level.ERROR, "cat"), wide)
    assert drawn is not None
    assert 10 < len(drawn["boxes"]) < 20
    assert neighbourhood(_finding("GRD001", Level.ERROR, "nowhere"), wide) is None


def test_histograms_are_reached_from_a_finding_and_by_keys_in_the_tree(browser: Any, drawn: Report, tmp_path: Path):
    shown = Page(browser, drawn, tmp_path)
    shown.page.click("button[data-show='blocks.1.fc']")
    assert shown.page.inner_text(".histograms h4") == "Activations: blocks.1.fc"
    shown.page.click("details.panel:has(.tree) > summary")
    shown.page.focus(".module[data-module='blocks.0.fc']")
    shown.page.keyboard.press("Enter")
    assert shown.page.inner_text(".histograms h4") == "Activations: blocks.0.fc"
    assert shown.page.get_attribute(".module[data-module='blocks']", "role") is None, "it has no histograms"


def test_sparkline() -> None:
    assert sparkline([]) == sparkline([0, 0]) == ""
    assert sparkline([0, 4], width=2, height=2) == "M0,2 L0.0,2.0 L1.0,0.0 L2,2 Z"


def test_a_hundred_layers_stay_small(drawn: Report) -> None:
    drawn.results[0].measurements = _measured(100)
    assert len(render("html", drawn, ReportOptions()).encode()) < 2_000_000


@pytest.fixture(scope="module")
def checked() -> nnlint.Report:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    setup = {
        "model": model,
        "inputs": torch.randn(12, 8),
        "targets": torch.arange(12) % 3,
        "loss": nn.CrossEntropyLoss(),
    }
    return nnlint.check({**setup, "optimizer": optimizer}, details=True, select=("SIG", "GRD", "OPT", "TRN"))


def test_details_are_measured(checked: nnlint.Report) -> None:
    measured = checked.results[0].measurements
    first = measured["layers"][0]
    assert first["layer"] == "0"
    assert sum(first["histograms"]["activation"]) == 12 * 16
    assert sum(first["histograms"]["weight"]) == sum(first["histograms"]["weight_gradient"]) == 8 * 16
    assert sum(first["histograms"]["gradient"]) == 12 * 16
    assert measured["classes"] == [4, 4, 4]
    assert measured["closed_forms"] == {"nothing known": 1.09861, "best constant": 1.09861}
    assert [row["path"] for row in measured["modules"]] == ["", "0", "1", "2"]
    assert [op["op"] for op in measured["operations"]][-2:] == ["linear", "cross_entropy"]
    assert measured["steps"]["losses"][0] == measured["initial_loss"]
    assert first["update"] > 0


def test_details_are_left_out_unless_wanted() -> None:
    report = nnlint.check(nn.Linear(3, 2), input=("3",), select=("SIG",))
    assert "modules" not in report.results[0].measurements
    assert all("histograms" not in row for row in report.results[0].measurements["layers"])


def test_a_notebook_shows_the_page(checked: nnlint.Report) -> None:
    shown = checked._repr_html_()
    assert shown.startswith('<iframe srcdoc="&lt;!DOCTYPE html&gt;')
    assert shown.count("<") == 2, "the page must stay inside the attribute"


def test_embedded_data_is_json_whatever_names_hold(drawn: Report) -> None:
    drawn.results[0].measurements["layers"][0]["layer"] = HOSTILE
    page = render("html", drawn, ReportOptions())
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.DOTALL)
    assert found is not None
    assert HOSTILE in json.loads(found[1])["target-0"][0]["x"]["names"]


#: Waits for what a chart draws; Playwright's own way to wait evaluates text in the page, which the page's policy refuses.
DRAWN_AGAIN = """() => new Promise((done) => {
  let left = 3000;
  const look = () => window.texts.some((text) => text.startsWith("1.6")) ? done(true) : left-- ? setTimeout(look, 20) : done(false);
  look();
})"""
#: Notes what is written on a canvas from here on.
NOTE_TEXTS = """() => {
  window.texts = [];
  const write = CanvasRenderingContext2D.prototype.fillText;
  CanvasRenderingContext2D.prototype.fillText = function (text, ...place) { window.texts.push(text); write.call(this, text, ...place); };
}"""


def test_labels_fit_on_a_phone_and_ticks_differ(browser: Any, report: Report, tmp_path: Path) -> None:
    """Near values get as many digits as tell them apart; marks of levels stay on one line; code in a fix is code."""
    result = report.results[0]
    result.measurements["steps"] = {"losses": [1.6102, 1.6101, 1.61, 1.6099]}
    result.findings[0].fix = "call `zero_grad()` <b>first</b>"
    page = Page(browser, report, tmp_path, width=360).page
    fix = page.locator(".finding .fix").first
    assert fix.locator("code").all_inner_texts() == ["zero_grad()"]
    assert "<b>first</b>" in fix.inner_text()
    assert page.locator(".tag").evaluate_all("tags => tags.every((tag) => tag.getClientRects().length === 1)")
    page.evaluate(NOTE_TEXTS)
    page.set_viewport_size({"width": 420, "height": 900})
    assert page.evaluate(DRAWN_AGAIN)
    ticks = [text for text in page.evaluate("window.texts") if re.fullmatch(r"1\.6\d*", text)]
    assert len(ticks) > 2
    assert len(set(ticks)) == len(ticks)
