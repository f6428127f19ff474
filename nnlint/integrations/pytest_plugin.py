"""The pytest plugin: the fixture `nnlint_check` and the mark `nnlint`. Failures show nnlint's report and no traceback.

    def test_model(nnlint_check):
        nnlint_check("mymodel:build", fail_on="warning")

    @pytest.mark.nnlint(ignore=("NRM004",))
    def test_setup():
        return {"model": model, "inputs": x, "targets": y, "loss": loss, "optimizer": optimizer}

Loaded by its entry point in every pytest run, so it imports nothing of torch before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from nnlint.report import Report

_MARK = "nnlint"


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known to `--strict-markers`."""
    config.addinivalue_line(
        "markers", "nnlint(fail_on='error', **settings): check the training setup that the test returns"
    )


@pytest.fixture
def nnlint_check(request: pytest.FixtureRequest) -> Callable[..., Report]:
    """A function that checks a model, a setup or a target string, and fails the test where there are findings.

    It takes `fail_on` ("error", "warning", "info") and the settings of `nnlint.check`; those of a mark `nnlint` on the test
    are its defaults. It returns the report.
    """
    mark = request.node.get_closest_marker(_MARK)
    defaults = dict(mark.kwargs) if mark is not None else {}

    def check(target: object, **settings: Any) -> Report:
        return _checked(target, {**defaults, **settings})

    return check


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object | None:
    """Check what a marked test returns; other tests run as always."""
    mark = pyfuncitem.get_closest_marker(_MARK)
    if mark is None or "nnlint_check" in pyfuncitem.fixturenames:
        return None
    names = pyfuncitem._fixtureinfo.argnames  # noqa: SLF001 - pytest's own implementation of this hook reads it, too
    returned = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    if returned is None:
        pytest.fail(
            "a test marked `nnlint` returns what is to be checked: a model, a dict, a TrainingSetup", pytrace=False
        )
    _checked(returned, dict(mark.kwargs))
    return True


def _checked(target: object, settings: dict[str, Any]) -> Report:
    from nnlint.api import check
    from nnlint.finding import Level
    from nnlint.reporters import render
    from nnlint.reporters.options import ReportOptions

    fail_on = Level(settings.pop("fail_on", Level.ERROR))
    report = check(target, **settings)
    if report.exit_status(fail_on):
        pytest.fail(render("text", report, ReportOptions(width=100)), pytrace=False)
    return report
