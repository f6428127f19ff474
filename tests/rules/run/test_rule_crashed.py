"""RUN007 rule-crashed: A rule raised an exception."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnlint import engine, registry
from nnlint.config import CheckSettings
from nnlint.registry import Registry
from nnlint.rule import rule
from tests.rules.run.failures import Net, setup

if TYPE_CHECKING:
    from nnlint import Graph


def test_crashing_rule_does_not_stop_the_others() -> None:
    @rule("TST001", "crashing-test-rule", level="warning", since="0.1")
    def crash(graph: Graph):
        """Crash.

        ## What it does
        ## Why is this bad?
        ## Example
        ## Use instead
        ## References
        """
        raise ZeroDivisionError("in the rule")
        yield

    made = Registry((*registry.load().rules, vars(crash)["__nnlint_rule__"]))
    report = engine.check(setup(Net()), CheckSettings(), registry=made)
    found = {item.code: item for item in report.findings}
    assert {"RUN007", "OPT001"} <= set(found)
    assert "TST001" in found["RUN007"].message
    assert "ZeroDivisionError" in (found["RUN007"].trace or "")
    assert report.status == "failed"
