"""The RUN family: what keeps a check from running is a finding, and the static rules still report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nnlint import registry
from nnlint.failure import FAILURES, Failure, Failures

if TYPE_CHECKING:
    pass


def test_every_failure_has_its_page() -> None:
    pages = {item.code: item.name for item in registry.load().rules if item.family == "RUN"}
    assert pages == dict(FAILURES)


@pytest.mark.parametrize("code", FAILURES)
def test_page_passes_the_failure_on(code) -> None:
    check = registry.load().find(code).check
    evidence = Failures((Failure(code, "what happened", fix="what to do", module="fc1", trace="Traceback"),))
    (finding,) = check(failures=evidence)
    assert (finding.message, finding.fix, finding.at.module_path) == ("what happened", "what to do", "fc1")
    assert finding.evidence == {"trace": "Traceback"}
    other = next(name for name in FAILURES if name != code)
    assert list(check(failures=Failures((Failure(other, "else"),)))) == []
