"""The RUN family: what keeps a check from running is a finding, and the static rules still report."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

import nnlint
from nnlint import engine, registry
from nnlint.config import CheckSettings
from nnlint.failure import FAILURES, Failure, Failures
from nnlint.registry import Registry
from nnlint.rule import rule

if TYPE_CHECKING:
    from nnlint import Graph


class Net(nn.Module):
    """A frozen-by-mistake optimizer goes with it: a static finding that needs no forward."""

    def __init__(self, between=torch.relu):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(8, 16), nn.Linear(16, 4)
        self.between = between

    def forward(self, x):
        return self.fc2(self.between(self.fc1(x)))


def setup(model, *, inputs=None, loss=None, targets=None):
    return {
        "model": model,
        "inputs": torch.randn(8, 8) if inputs is None else inputs,
        "targets": torch.arange(8) % 4 if targets is None else targets,
        "loss": loss or nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(model.fc1.parameters(), lr=0.1),
    }


def codes(report):
    return {item.code for item in report.results[0].findings}


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


def test_target_not_loaded(tmp_path, monkeypatch) -> None:
    (tmp_path / "broken.py").write_text(
        textwrap.dedent("""
        def build():
            raise ValueError("no data here")
    """)
    )
    monkeypatch.chdir(tmp_path)
    for target, part in (
        ("missing_module_of_mine:build", "missing_module_of_mine"),
        ("broken.py:build", "no data here"),
    ):
        report = nnlint.check(target).results[0]
        assert report.status == "failed"
        assert [item.code for item in report.findings] == ["RUN001"]
        assert part in report.findings[0].message


FORWARD = setup(Net(lambda h: h.reshape(-1, 5)))
LOSS = setup(Net(), targets=torch.full((8,), 9))


def overwritten(h):
    y = torch.exp(h)
    z = y * 2
    y.add_(1)
    return z + y


BACKWARD = setup(Net(overwritten))


@pytest.mark.parametrize(
    ("broken", "code"),
    [(FORWARD, "RUN002"), (LOSS, "RUN003"), (BACKWARD, "RUN004")],
    ids=["forward", "loss", "backward"],
)
def test_static_findings_are_still_reported(broken, code) -> None:
    report = nnlint.check(broken)
    assert report.results[0].status == "failed"
    assert {code, "OPT001"} <= codes(report)
    failure = next(item for item in report.results[0].findings if item.code == code)
    assert failure.level.value == "error"
    assert failure.trace is not None
    assert failure.fix


def test_forward_failure_names_layer_and_shapes() -> None:
    model = Net()
    report = nnlint.check(setup(model, inputs=torch.randn(8, 9)))
    (failure,) = [item for item in report.results[0].findings if item.code == "RUN002"]
    assert failure.module == "fc1"
    assert "8 x 9" in failure.message or "(8, 9)" in failure.message
    assert "in_features=9" in failure.fix


def test_no_example_input() -> None:
    class Strange(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3))

        def forward(self, a, *, mode):
            if mode != "the right one":
                raise ValueError(mode)
            return a * self.weight

    report = nnlint.check(Strange())
    assert report.results[0].status == "failed"
    assert "RUN005" in codes(report)


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
