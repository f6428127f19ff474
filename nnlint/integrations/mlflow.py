"""A report in MLflow: metrics, curves, tables and the HTML page of a run."""

from __future__ import annotations

import re
from typing import Any

from nnlint.integrations.measured import HISTOGRAM_EDGES, measured
from nnlint.report import Report
from nnlint.reporters import render
from nnlint.reporters.options import ReportOptions

#: What MLflow allows in the name of a metric.
_FORBIDDEN = re.compile(r"[^\w\-. /:]")


def log_report(report: Report, run_id: str | None = None) -> None:
    """Log scalars and curves as metrics, tables and histograms as JSON, and the HTML page as an artifact.

    Args:
        report: of `nnlint.check(..., details=True)`; without `details` there are no histograms.
        run_id: where to log; the active run by default.

    Raises:
        ImportError: MLflow is not installed; the message says what to install.
        ValueError: no run is active and none was given.
    """
    try:
        import mlflow
    except Exception as error:
        raise ImportError(f"log_report needs MLflow: pip install 'nnlint[mlflow]' ({error})") from error
    active: Any = mlflow.active_run()
    chosen = run_id or (active.info.run_id if active is not None else None)
    if chosen is None:
        raise ValueError("no active run: call mlflow.start_run() first, or give run_id=...")
    client: Any = mlflow.MlflowClient()
    for number, target in enumerate(measured(report)):
        for name, value in target.scalars.items():
            client.log_metric(chosen, _FORBIDDEN.sub("_", name), value)
        for curve in target.curves:
            for position, value in enumerate(curve.y):
                client.log_metric(chosen, _FORBIDDEN.sub("_", curve.name), value, step=position)
        folder = f"nnlint/{number}"
        for table in target.tables:
            content = {"columns": list(table.columns), "data": [list(row) for row in table.rows]}
            client.log_dict(chosen, content, f"{folder}/{table.name.rpartition('/')[2]}.json")
        histograms = {histogram.name: list(histogram.counts) for histogram in target.histograms}
        if histograms:
            client.log_dict(chosen, {"edges": list(HISTOGRAM_EDGES), "counts": histograms}, f"{folder}/histograms.json")
    client.log_text(chosen, render("html", report, ReportOptions()), "nnlint/report.html")
