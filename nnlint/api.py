"""The Python API: `nnlint.check(model_or_setup)`, for a notebook or a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnlint import engine, suppress
from nnlint._version import __version__
from nnlint.config import CheckSettings
from nnlint.report import Report, TargetReport


def check(target: object, *, on_progress: Callable[[TargetReport], None] | None = None, **settings: Any) -> Report:
    """Check a model, a training setup or a target string.

    Args:
        target: an `nn.Module`, a `TrainingSetup`, a dict or tuple as a build function may return, the build function itself,
            or a target string such as `"mymodel:build_fn"`.
        on_progress: called with the report so far after each measurement.
        **settings: fields of `CheckSettings`: `select`, `ignore`, `seed`, `static`, `deep`, `input`, ...

    Returns:
        The report; `report.raise_for_errors()` turns errors into an exception, `report.findings` lists what was found.
        The caller's model, optimizer, random generators and data are bit for bit as before.

    Raises:
        pydantic.ValidationError: an unknown setting or a value of the wrong type.
        SettingsError: an unknown rule in `select`, or a wrong option of a rule.
    """
    import torch

    chosen = CheckSettings(**settings)
    result = engine.check(target, chosen, on_progress=on_progress)
    kept = list(suppress.apply([result]).results)
    return Report(nnlint=__version__, torch=torch.__version__, seed=chosen.seed, results=kept).summarized()
