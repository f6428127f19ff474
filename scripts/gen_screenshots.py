"""Takes the pictures of docs/how-to: the HTML page of what the how-to pages check, in headless Chromium.

Usage: gen_screenshots.py

html-report.png is the page of docs/how-to/html-report.md, run.png the timeline of docs/how-to/run.md. Pictures are not compared by
a test: take them again when the page looks different.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

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


def main() -> int:
    """Take all of them."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
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
