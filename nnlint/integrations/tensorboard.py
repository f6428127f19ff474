"""A report as a TensorBoard event file."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

from nnlint.integrations.measured import HISTOGRAM_EDGES, Histogram, measured
from nnlint.report import Report
from nnlint.reporters import render
from nnlint.reporters.options import ReportOptions


def write_report(report: Report, folder: str | Path, *, step: int = 0) -> None:
    """Write scalars, loss curves, histograms and the findings (as text) for TensorBoard.

    Curves over learning rates have the point's number as their step and the logarithm of the rate in `.../x`.

    Args:
        report: of `nnlint.check(..., details=True)`; without `details` there are no histograms.
        folder: the log directory.
        step: of scalars, histograms and text.

    Raises:
        ImportError: TensorBoard is not installed; the message says what to install.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except Exception as error:
        raise ImportError(f"write_report needs TensorBoard: pip install 'nnlint[tensorboard]' ({error})") from error
    writer: Any = SummaryWriter(str(folder))
    try:
        for target in measured(report):
            for name, value in target.scalars.items():
                writer.add_scalar(name, value, step)
            for curve in target.curves:
                for position, (x, y) in enumerate(zip(curve.x, curve.y, strict=True)):
                    writer.add_scalar(curve.name, y, position)
                    if curve.x_name != "step":
                        writer.add_scalar(f"{curve.name}/x", math.log10(x) if x > 0 else x, position)
            for histogram in target.histograms:
                _add_histogram(writer, histogram, step)
        writer.add_text("nnlint/report", _unfolded(render("markdown", report, ReportOptions())), step)
    finally:
        writer.close()


def _unfolded(text: str) -> str:
    """The report without the folds of GitHub's Markdown, which TensorBoard would print."""
    return text.replace("<details><summary>", "**").replace("</summary>", "**\n").replace("</details>", "")


def _add_histogram(writer: Any, histogram: Histogram, step: int) -> None:
    """The counts over the powers of ten: on a linear axis all of them would share one bin."""
    powers = [math.log10(edge) for edge in HISTOGRAM_EDGES]
    middles = [(low + high) / 2 for low, high in pairwise(powers)]
    total = sum(histogram.counts)
    if not total:
        return
    filled = [middle for middle, count in zip(middles, histogram.counts, strict=True) if count]
    writer.add_histogram_raw(
        f"{histogram.name} (log10)",
        min=min(filled),
        max=max(filled),
        num=total,
        sum=sum(middle * count for middle, count in zip(middles, histogram.counts, strict=True)),
        sum_squares=sum(middle**2 * count for middle, count in zip(middles, histogram.counts, strict=True)),
        bucket_limits=powers[1:],
        bucket_counts=list(histogram.counts),
        global_step=step,
    )
