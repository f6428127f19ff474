"""A report in Weights & Biases: what the article does with `wandb.watch` and `wandb.log`, from one check."""

from __future__ import annotations

from typing import Any

from nnlint.integrations.measured import HISTOGRAM_EDGES, measured
from nnlint.report import Report
from nnlint.reporters import render
from nnlint.reporters.options import ReportOptions


def log_report(report: Report, run: Any = None) -> None:
    """Log scalars to the run's summary, and tables, histograms, curves and the HTML page as one step of its history.

    Args:
        report: of `nnlint.check(..., details=True)`; without `details` there are no histograms.
        run: where to log; the active run by default.

    Raises:
        ImportError: wandb is not installed; the message says what to install.
        ValueError: no run is active and none was given.
    """
    try:
        import numpy as np
        import wandb
    except Exception as error:
        raise ImportError(f"log_report needs wandb: pip install 'nnlint[wandb]' ({error})") from error
    chosen: Any = run if run is not None else wandb.run
    if chosen is None:
        raise ValueError("no active run: call wandb.init() first, or give run=...")
    logged: dict[str, Any] = {}
    for target in measured(report):
        chosen.summary.update(dict(target.scalars))
        logged |= {
            table.name: wandb.Table(columns=list(table.columns), data=[list(row) for row in table.rows])
            for table in target.tables
        }
        for histogram in target.histograms:
            logged[histogram.name] = wandb.Histogram(
                np_histogram=(np.asarray(histogram.counts), np.asarray(HISTOGRAM_EDGES))
            )
        for curve in target.curves:
            points = wandb.Table(
                columns=[curve.x_name, "loss"], data=[list(pair) for pair in zip(curve.x, curve.y, strict=True)]
            )
            logged[curve.name] = wandb.plot.line(points, curve.x_name, "loss", title=curve.name)
    logged["nnlint/report"] = wandb.Html(render("html", report, ReportOptions()), inject=False)
    chosen.log(logged)
