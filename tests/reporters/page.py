"""A rendered report in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnlint.report import Report
from nnlint.reporters import render
from nnlint.reporters.options import ReportOptions

HOSTILE = "</script><img src=x onerror=\"document.title='broken'\"><b>&{{ 7*7 }}"


class Page:
    """A rendered report in the browser, with everything it said or asked for."""

    def __init__(self, browser: Any, report: Report, folder: Path, *, width: int = 1200, dark: bool = False) -> None:
        file = folder / "report.html"
        file.write_text(render("html", report, ReportOptions()), encoding="utf-8")
        self.noise: list[str] = []
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        self.page = context.new_page()
        self.page.on("console", lambda message: self.noise.append(message.text))
        self.page.on("pageerror", lambda error: self.noise.append(str(error)))
        self.page.on(
            "request", lambda request: self.noise.append(request.url) if request.url != file.as_uri() else None
        )
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-ready]")

    def visible(self) -> list[str]:
        return [shown.inner_text().split()[1] for shown in self.page.query_selector_all(".finding:not([hidden]) h3")]
