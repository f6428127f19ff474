"""Which library draws the charts of the HTML report: size, speed and offline use of uPlot, Vega-Lite and Plotly.

Usage: python benchmarks/chart_libraries.py [--rounds 7] [--folder FOLDER] [--write]

Each page holds one library and the same charts, like those of a report on a model of 100 layers; Debian's Chromium opens them in
turn, each time in a fresh context, without network and under the content policy of the report (no eval). FOLDER is where npm
installs the libraries (a new temporary folder by default). `--write` puts the table into docs/evidence/html-report.md.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
PAGE = ROOT / "docs" / "evidence" / "html-report.md"
LAYERS = 100
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"
PACKAGES = ("uplot@1.6.32", "plotly.js-basic-dist-min@4.1.1", "vega@6.4.0", "vega-lite@6.4.3", "vega-embed@7.3.0")


@dataclass(frozen=True)
class Library:
    """A library: its files below node_modules, and the script that draws `charts` and gives a promise."""

    name: str
    scripts: tuple[str, ...]
    styles: tuple[str, ...]
    draw: str


UPLOT = """
const draw = (chart, parent) => new uPlot({ width: 500, height: 240, scales: { x: { time: false }, y: { distr: chart.log ? 3 : 1 } },
  series: [{}, ...chart.series.map((item, index) => ({ label: item.name, stroke: ["#0072b2", "#d55e00"][index % 2] }))] },
  [chart.x, ...chart.series.map((item) => item.y)], parent);
"""
PLOTLY = """
const draw = (chart, parent) => Plotly.newPlot(parent, chart.series.map((item) => ({ x: chart.x, y: item.y, name: item.name, mode: "lines" })),
  { width: 500, height: 240, yaxis: { type: chart.log ? "log" : "linear" } });
"""
VEGA = """
const draw = (chart, parent) => vegaEmbed(parent, { $schema: "https://vega.github.io/schema/vega-lite/v6.json", width: 440, height: 200,
  data: { values: chart.series.flatMap((item) => chart.x.map((x, index) => ({ x, y: item.y[index], name: item.name }))) }, mark: "line",
  encoding: { x: { field: "x", type: "quantitative" }, y: { field: "y", type: "quantitative", scale: { type: chart.log ? "log" : "linear" } },
    color: { field: "name", type: "nominal" } } }, { actions: false, ast: true, renderer: "canvas" });
"""
LIBRARIES = (
    Library("uPlot", ("uplot/dist/uPlot.iife.min.js",), ("uplot/dist/uPlot.min.css",), UPLOT),
    Library("Plotly basic", ("plotly.js-basic-dist-min/plotly-basic.min.js",), (), PLOTLY),
    Library(
        "Vega-Lite with Vega and vega-embed",
        ("vega/build/vega.min.js", "vega-lite/build/vega-lite.min.js", "vega-embed/build/vega-embed.min.js"),
        (),
        VEGA,
    ),
)


@dataclass(frozen=True)
class Loaded:
    """Milliseconds from the navigation on, or why nothing was drawn."""

    library: float = math.nan
    drawing: float = math.nan
    opened: float = math.nan
    error: str = ""


def charts() -> list[dict[str, Any]]:
    """Eight charts over the layers and four histograms, as in a report with a layer chosen."""
    layers = list(range(1, LAYERS + 1))
    wave = [[1.5 + math.sin(0.1 * (layer + shift)) for layer in layers] for shift in range(2)]
    by_layer = [
        {"log": index % 2 == 0, "x": layers, "series": [{"name": f"s{number}", "y": y} for number, y in enumerate(wave)]}
        for index in range(8)
    ]
    bins = list(range(1, 65))
    counts = [1 + 100 * math.exp(-((place - 40) ** 2) / 40) for place in bins]
    return [*by_layer, *({"log": False, "x": bins, "series": [{"name": "values", "y": counts}]} for _ in range(4))]


def page(library: Library, modules: Path) -> str:
    """A page of its own, with everything inside."""
    scripts = [(modules / script).read_text(encoding="utf-8").replace("</script", r"<\/script") for script in library.scripts]
    styles = "".join((modules / style).read_text(encoding="utf-8") for style in library.styles)
    inside = "".join(f"<script>{script}</script>" for script in scripts)
    return f"""<!DOCTYPE html><html><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">
<style>{styles}</style></head><body><script>const began = performance.now();</script>{inside}<script>const evaluated = performance.now();
const charts = {json.dumps(charts())};
{library.draw}
(async () => {{
  try {{
    await Promise.all(charts.map((chart) => {{ const parent = document.createElement("div"); document.body.append(parent); return draw(chart, parent); }}));
    const drawn = performance.now();
    requestAnimationFrame(() => setTimeout(() => {{ window.result = {{ library: evaluated - began, drawing: drawn - evaluated, opened: performance.now() }}; }}));
  }} catch (error) {{ window.result = {{ error: String(error) }}; }}
}})();
</script></body></html>"""


@contextmanager
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium")
    assert found is not None, "needs Chromium"
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


def load(started: Any, file: Path) -> tuple[Loaded, list[str]]:
    """Open the page once; what it asked for beside itself comes back too."""
    asked: list[str] = []
    context = started.new_context(viewport={"width": 1400, "height": 900}, offline=True)
    opened = context.new_page()
    opened.on("request", lambda request: asked.append(request.url) if request.url != file.as_uri() else None)
    opened.goto(file.as_uri())
    opened.wait_for_function("window.result !== undefined")
    made = Loaded(**opened.evaluate("window.result"))
    context.close()
    return made, [url for url in asked if not url.startswith(("data:", "blob:"))]


def install(folder: Path) -> Path:
    """The libraries from npm, as they are published."""
    modules = folder / "node_modules"
    if not modules.is_dir():
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), *PACKAGES]
        subprocess.run(command, check=True, cwd=folder, capture_output=True)
    return modules


def version(modules: Path, name: str) -> str:
    return str(json.loads((modules / name / "package.json").read_text(encoding="utf-8"))["version"])


def table(folder: Path, rounds: int) -> str:
    from tabulate import tabulate

    modules = install(folder)
    files: dict[str, Path] = {}
    for number, library in enumerate(LIBRARIES):
        files[library.name] = folder / f"page{number}.html"
        files[library.name].write_text(page(library, modules), encoding="utf-8")
    loads: dict[str, list[Loaded]] = {library.name: [] for library in LIBRARIES}
    asked: dict[str, set[str]] = {library.name: set() for library in LIBRARIES}
    with browser() as started:
        for _ in range(rounds + 1):
            for name, file in files.items():
                made, urls = load(started, file)
                loads[name].append(made)
                asked[name] |= set(urls)
    rows = [row(library, modules, loads[library.name][1:], asked[library.name]) for library in LIBRARIES]
    heads = ["library", "versions", "minified", "gzipped", "evaluate", "draw 12 charts", "open", "requests"]
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True)


def row(library: Library, modules: Path, loads: list[Loaded], asked: set[str]) -> list[str]:
    parts = [(modules / part).read_bytes() for part in (*library.scripts, *library.styles)]
    packages = dict.fromkeys(part.split("/")[0] for part in library.scripts)
    failed = next((made.error for made in loads if made.error), "")
    times = [
        failed or f"{statistics.median(getattr(made, name) for made in loads):.0f} ms"
        for name in ("library", "drawing", "opened")
    ]
    size = sum(map(len, parts))
    packed = sum(len(gzip.compress(part)) for part in parts)
    versions = ", ".join(version(modules, name) for name in packages)
    return [library.name, versions, f"{size / 1000:.0f} kB", f"{packed / 1000:.0f} kB", *times, str(len(asked))]


def main() -> int:
    parser = argparse.ArgumentParser(description="Size and speed of chart libraries.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.relative_to(ROOT)}")
    arguments = parser.parse_args()
    folder = (arguments.folder or Path(tempfile.mkdtemp(prefix="nnlint-charts-"))).absolute()
    found = table(folder, arguments.rounds)
    print(found)
    if arguments.write:
        from benchmarks.marked import write_between

        write_between(PAGE, "libraries", found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
