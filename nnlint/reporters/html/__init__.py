"""HTML: one self-contained page with the findings, their source, and charts of what was measured. Needs `nnlint[html]`."""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any

from nnlint.report import Report
from nnlint.reporters.html.charts import charts_of
from nnlint.reporters.html.view import target_view
from nnlint.reporters.json import plain
from nnlint.reporters.options import ReportOptions


def render(report: Report, options: ReportOptions) -> str:
    """The page. It loads nothing: styles, scripts and data are inside, and its content policy forbids any request.

    Raises:
        ImportError: Jinja2 is not installed; the message says what to install.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise ImportError("the HTML report needs Jinja2: pip install 'nnlint[html]'") from error
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["marked"] = _marked
    page = environment.from_string(_asset("report.html.j2"))
    targets = [target_view(result, index, options) for index, result in enumerate(report.results)]
    return page.render(
        report=report,
        targets=targets,
        data=_embedded({f"target-{index}": charts_of(result, f"target-{index}") for index, result in enumerate(report.results)}),
        style=_asset("uPlot.min.css") + _asset("report.css"),
        library=_asset("uPlot.iife.min.js"),
        script=_asset("report.js"),
    )


def _marked(text: str) -> Any:
    """The text, escaped, with what stands between backticks as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


def _asset(name: str) -> str:
    return resources.files("nnlint.reporters.html").joinpath("assets").joinpath(name).read_text(encoding="utf-8")


def _embedded(data: Any) -> str:
    """JSON that can stand inside a script element: nothing in it can end the element or open a comment."""
    text = json.dumps(plain(data), separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
