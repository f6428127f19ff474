"""The Python API: `nnlint.check(model_or_setup)` and `nnlint.observe()`, for a notebook, a test or a program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from nnlint import players, suppress
from nnlint._version import __version__
from nnlint.config import CheckSettings, problems
from nnlint.observation.course import Plan
from nnlint.observation.observer import Observer
from nnlint.report import Report, TargetReport
from nnlint.run import Judge
from nnlint.selection import SettingsError

if TYPE_CHECKING:
    from typing_extensions import Self


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
            or a target string such as `"mymodel:build_fn"`; each of several players has a result of its own.
        on_progress: called with the report so far after each measurement.
        **settings: fields of `CheckSettings`: `select`, `ignore`, `seed`, `static`, `deep`, `input`, ...; `details=True`
            measures the histograms of the HTML report as well.

    Returns:
        The report, which a notebook shows as a page; `report.raise_for_errors()` turns errors into an exception,
        `report.findings` lists what was found.
        The caller's model, optimizer, random generators and data are bit for bit as before.

    Raises:
        SettingsError: an unknown setting or a value of the wrong type, an unknown rule in `select`, or a wrong option of a rule.
    """
    import torch

    chosen = _settings(settings)
    results = list(players.check(target, chosen, on_progress=on_progress))
    kept = list(suppress.apply(results).results)
    return ShownReport(nnlint=__version__, torch=torch.__version__, seed=chosen.seed, results=kept).summarized()


def observe(*, iterations: int = 4, until_evaluation: bool = False, **settings: Any) -> Observing:
    """Watch the training that runs inside a `with` block, and judge it as `nnlint run` judges a script.

        with nnlint.observe() as seen:
            train(model, loader)
        seen.report

    The training computes what it would have computed, is never stopped, and is watched no longer than needed.

    Args:
        iterations: updates of each optimizer to watch.
        until_evaluation: watch until the first evaluation.
        **settings: fields of `CheckSettings`, as for `check`.

    Raises:
        SettingsError: an unknown setting or a value of the wrong type.
    """
    return Observing(
        Plan(iterations, fold=False, keep_going=True, until_evaluation=until_evaluation), _settings(settings)
    )


def _settings(given: Mapping[str, Any]) -> CheckSettings:
    """The settings of a call.

    Raises:
        SettingsError: one is unknown, or has a wrong value.
    """
    try:
        return CheckSettings.model_validate(given)
    except ValidationError as error:
        raise SettingsError("; ".join(problems(error, CheckSettings))) from error


class Observing:
    """A training that is being watched; `report` is there once the block has been left."""

    def __init__(self, plan: Plan, settings: CheckSettings) -> None:
        self._observer = Observer(plan, self._enough)
        self._settings = settings
        self._report: Report | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._observer.start()
        return self

    def _enough(self) -> None:
        self._observer.stop()

    def fail(self, error: BaseException) -> None:
        """Take note of an exception that ended the training and was caught inside the block."""
        self._error = error

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """End, and judge what was seen."""
        ended = error or self._error
        self._observer.stop(ended)
        self._judge(ended)

    @property
    def report(self) -> Report:
        """What was found.

        Raises:
            RuntimeError: the block has not been left yet.
        """
        if self._report is None:
            raise RuntimeError("the report is made when the `with nnlint.observe()` block ends")
        return self._report

    def _judge(self, error: BaseException | None) -> None:
        """Make the report; `error` is what ended the training, if anything did."""
        import torch

        if self._report is not None:
            return
        results = Judge(self._observer, self._settings, "observed training").reports(error)
        kept = list(suppress.apply(results).results)
        made = ShownReport(nnlint=__version__, torch=torch.__version__, seed=self._settings.seed, results=kept)
        self._report = made.summarized()
