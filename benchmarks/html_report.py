"""How large the HTML report of a model with 100 layers is, and how fast it opens.

Usage: python benchmarks/html_report.py [--rounds 7] [--write]

The model is checked with everything that pictures need; the page is opened in Debian's Chromium, each time in a fresh context, and
the time runs from the beginning of the navigation until every chart is drawn. `--write` puts the table into
docs/evidence/html-report.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: one thread

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
PAGE = ROOT / "docs" / "evidence" / "html-report.md"
LAYERS = (10, 100, 300)
#: Set by the page when all is drawn; the marks of the browser's own clock.
READY = "html[data-ready]"


def deep(layers: int) -> dict[str, Any]:
    """A plain network of so many linear layers, each with its activation, and a batch."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    hidden = [part for _ in range(layers - 1) for part in (nn.Linear(32, 32), nn.ReLU())]
    model = nn.Sequential(*hidden, nn.Linear(32, 10))
    return {
        "model": model,
        "inputs": torch.randn(64, 32),
        "targets": torch.arange(64) % 10,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
    }


def written(layers: int, file: Path) -> int:
    """Check, write the page; rows of the layer table."""
    from nnlint import check
    from nnlint.reporters import render
    from nnlint.reporters.options import ReportOptions

    report = check(deep(layers), details=True)
    file.write_text(render("html", report, ReportOptions()), encoding="utf-8")
    return len(report.results[0].measurements["layers"])


def opened(started: Any, file: Path) -> tuple[float, int]:
    """Milliseconds until all is drawn, and how many charts that were."""
    context = started.new_context(viewport={"width": 1400, "height": 900}, offline=True)
    page = context.new_page()
    page.add_init_script(
        "new MutationObserver(() => { if (document.documentElement.dataset.ready) window.drawn ??= performance.now(); })"
        ".observe(document, { attributes: true, subtree: true, attributeFilter: ['data-ready'] });"
    )
    page.goto(file.as_uri())
    page.wait_for_selector(READY)
    page.wait_for_function("window.drawn !== undefined")
    found = float(page.evaluate("window.drawn")), int(page.locator("canvas").count())
    context.close()
    return found


def table(rounds: int) -> str:
    from playwright.sync_api import sync_playwright
    from tabulate import tabulate

    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for layers in LAYERS:
            file = Path(folder) / f"{layers}.html"
            shown = written(layers, file)
            opened(started, file)  # the first start of a page in this browser
            loads = [opened(started, file) for _ in range(rounds)]
            times = [time for time, _ in loads]
            rows.append(
                [
                    layers,
                    shown,
                    loads[0][1],
                    f"{file.stat().st_size / 1000:.0f} kB",
                    f"{statistics.median(times):.0f} ms",
                    f"{max(times):.0f} ms",
                ]
            )
        started.close()
    heads = ["layers with weights", "rows of the table", "charts", "page", "all drawn after (median)", "(slowest)"]
    return tabulate(rows, heads, tablefmt="github", disable_numparse=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Size and speed of the HTML report.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.relative_to(ROOT)}")
    arguments = parser.parse_args()
    found = table(arguments.rounds)
    print(found)
    if arguments.write:
        from benchmarks.marked import write_between

        write_between(PAGE, "page", found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
