"""Takes the pictures of docs/how-to: the HTML page of what the how-to pages check, and TensorBoard, in headless Chromium.

Usage: gen_screenshots.py

html-report.png is the page of docs/how-to/html-report.md, run.png the timeline of docs/how-to/run.md, tensorboard.png what
TensorBoard shows of the former. Pictures are not compared by a test: take them again when the page looks different.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "how-to"
_FILE = re.compile(r"^```python file=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: Picture -> the page whose file is used, the command, what of the report is shown, and the width of the window.
PICTURES = {
    "html-report.png": ("html-report.md", ("check", "mymodel.py:build"), "main", 1000),
    "run.png": ("run.md", ("run", "train.py"), "figure.timeline", 1100),
}
#: Pixels of a page that are kept.
_HEIGHT = 1180


def report_of(page: str, command: tuple[str, ...], folder: Path) -> Path:
    """The HTML report that the command writes in a folder with the files of the page."""
    for name, text in _FILE.findall((FOLDER / page).read_text(encoding="utf-8")):
        (folder / name).write_text(text, encoding="utf-8")
    paths = os.pathsep.join([str(ROOT), str(ROOT / "rules")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "nnlint", command[0], "--output", "report.html", *command[1:]]
    subprocess.run(words, cwd=folder, env=environment, check=False, capture_output=True)
    return folder / "report.html"


_EVENTS = """
import nnlint
from mymodel import build
from nnlint.integrations.tensorboard import write_report
write_report(nnlint.check(build, details=True), "runs/check")
"""
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/")


def take_tensorboard(browser: Any, folder: Path) -> None:
    """Write the event file of the report, and take TensorBoard's page of its histograms, served on this machine."""
    for name, text in _FILE.findall((FOLDER / "html-report.md").read_text(encoding="utf-8")):
        (folder / name).write_text(text, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "rules")]), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", _EVENTS], cwd=folder, env=environment, check=True, capture_output=True)
    words = [sys.executable, "-m", "tensorboard.main", "--logdir", "runs", "--host", "127.0.0.1", "--port", "0"]
    server = subprocess.Popen([*words, "--load_fast=false"], cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        address = next(found[0] for line in server.stderr if (found := _ADDRESS.search(line)))
        window = browser.new_page(viewport={"width": 1100, "height": 620})
        window.goto(f"{address}#histograms&tagFilter=gradient")
        window.locator("vz-histogram-timeseries path").first.wait_for(state="attached", timeout=120_000)
        window.wait_for_timeout(3000)  # until it has drawn all of them
        window.screenshot(path=FOLDER / "tensorboard.png")
    finally:
        server.terminate()
        server.wait()


def main() -> int:
    """Take all of them."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        with tempfile.TemporaryDirectory() as folder:
            take_tensorboard(browser, Path(folder))
        for picture, (page, command, shown, width) in PICTURES.items():
            with tempfile.TemporaryDirectory() as folder:
                report = report_of(page, command, Path(folder))
                window = browser.new_page(viewport={"width": width, "height": _HEIGHT})
                window.goto(report.as_uri())
                window.wait_for_selector("html[data-ready]")
                window.wait_for_timeout(300)
                if shown == "main":
                    window.screenshot(path=FOLDER / picture)
                else:
                    window.locator(shown).screenshot(path=FOLDER / picture)
        browser.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
