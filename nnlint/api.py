"""The Python API: `nnlint.check(model_or_setup)`, for a notebook or a test."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from nnlint import engine, suppress
from nnlint._version import __version__
from nnlint.config import CheckSettings
from nnlint.report import Report, TargetReport


class ShownReport(Report):
    """A report that a notebook shows as the HTML page."""

    def _repr_html_(self) -> str:
        """The page inside a frame of its own, so that its styles and scripts stay apart from the notebook's."""
        from nnlint.reporters import render
        from nnlint.reporters.options import ReportOptions

        page = escape(render("html", self, ReportOptions()), quote=True)
        return f'<iframe srcdoc="{page}" title="nnlint report" style="width:100%;height:720px;border:0"></iframe>'


def check(target: object, *, on_progress: Callable[[TargetReport], None] | None = None, **settings: Any) -> Report:
    """Check a model, a training setup or a target string.

    Args:
        target: an `nn.Module`, a `TrainingSetup`, a dict or tuple as a build function may return, the build function itself,
            or a target string such as `"mymodel:build_fn"`.
        on_progress: called with the report so far after each measurement.
        **settings: fields of `CheckSettings`: `select`, `ignore`, `seed`, `static`, `deep`, `input`, ...; `details=True`
            measures the histograms of the HTML report as well.

    Returns:
        The report, which a notebook shows as a page; `report.raise_for_errors()` turns errors into an exception,
        `report.findings` lists what was found.
        The caller's model, optimizer, random generators and data are bit for bit as before.

    Raises:
        pydantic.ValidationError: an unknown setting or a value of the wrong type.
        SettingsError: an unknown rule in `select`, or a wrong option of a rule.
    """
    import torch

    chosen = CheckSettings(**settings)
    result = engine.check(target, chosen, on_progress=on_progress)
    kept = list(suppress.apply([result]).results)
    return ShownReport(nnlint=__version__, torch=torch.__version__, seed=chosen.seed, results=kept).summarized()
