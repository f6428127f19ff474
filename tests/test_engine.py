"""The engine: settings, failures, repeatability. Rules and probes have their own tests."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import nn

import nnlint
from nnlint import Finding, Graph, Place, engine, rule
from nnlint.config import CheckSettings
from nnlint.registry import Registry, load
from nnlint.report import TargetReport
from nnlint.rule import RuleError
from nnlint.selection import SettingsError

_PAGE = """Summary.

## What it does
## Why is this bad?
## Example
## Use instead
## References
"""


def _classifier(head: nn.Module | None = None) -> dict[str, object]:
    torch.manual_seed(0)
    layers = [nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5), *([head] if head is not None else [])]
    model = nn.Sequential(*layers)
    return {
        "model": model,
        "inputs": torch.randn(64, 20),
        "targets": torch.arange(64) % 5,
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3),
    }


def _one_rule(check: object) -> Registry:
    made = getattr(check, "__nnlint_rule__")  # noqa: B009 - set by the decorator
    run_rules = tuple(known for known in load().rules if known.family == "RUN")
    return Registry((made, *run_rules))


def test_healthy_classifier_is_clean() -> None:
    report = nnlint.check(_classifier())
    assert report.exit_status() == 0
    assert not [finding for finding in report.findings if finding.level.value != "info"]


def test_softmax_before_cross_entropy_is_one_finding() -> None:
    report = nnlint.check(_classifier(nn.Softmax(dim=1)), select=["LOS"])
    assert [finding.code for finding in report.findings] == ["LOS001"]
    assert report.exit_status() == 1
    with pytest.raises(nnlint.FindingsError, match="LOS001 softmax-before-cross-entropy"):
        report.raise_for_errors()


def test_same_seed_same_report() -> None:
    def dumped() -> dict[str, object]:
        result = engine.check(_classifier(nn.Sigmoid()), CheckSettings(seed=3))
        return result.model_dump(exclude={"timings"})

    assert dumped() == dumped()


def test_device_and_cost_in_training_steps_are_reported() -> None:
    (result,) = nnlint.check(_classifier()).results
    assert result.subject["device"] == "cpu"
    assert 1.0 < result.timings["training_steps"] < math.inf
    assert 0.0 < result.timings["build"] < result.timings["total"]
    (static,) = nnlint.check(_classifier(), static=True).results
    assert "training_steps" not in static.timings


def test_findings_at_a_module_are_accepted_by_its_attribute() -> None:
    setup = _classifier(nn.Softmax(dim=1))
    setup["model"].nnlint_disable = {"LOS001": "meant"}
    (result,) = nnlint.check(setup, select=["LOS"]).results
    assert result.findings == []
    assert next(line for line in result.assumptions if "suppressed" in line).endswith("is suppressed: meant")


def test_ignore_takes_precedence_over_select() -> None:
    report = nnlint.check(_classifier(nn.Softmax(dim=1)), select=["LOS"], ignore=["LOS001"])
    assert "LOS001" not in {finding.code for finding in report.findings}


def test_a_preview_rule_reports_at_info_until_it_is_given_a_level() -> None:
    def check(graph: Graph) -> Iterator[Finding]:
        yield Finding(at=None, message="seen", fix="none", level=nnlint.Level.WARNING)

    check.__doc__ = _PAGE
    rule("LOS999", "new-idea", level="error", since="0.1", preview=True)(check)
    report = engine.check(_classifier(), CheckSettings(select=("LOS999",)), registry=_one_rule(check))
    assert [found.level.value for found in report.findings] == ["info"]
    settings = CheckSettings(select=("LOS999",), rules={"LOS999": {"level": "error"}})
    report = engine.check(_classifier(), settings, registry=_one_rule(check))
    assert [found.level.value for found in report.findings] == ["error"]


def test_configured_level_replaces_the_rules_own() -> None:
    report = nnlint.check(_classifier(nn.Softmax(dim=1)), select=["LOS001"], rules={"LOS001": {"level": "info"}})
    assert [finding.level.value for finding in report.findings] == ["info"]
    assert report.exit_status() == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"select": ["LOS999"]}, "unknown rule 'LOS999'"),
        ({"select": ["softmax-before-cross-entrop"]}, "did you mean softmax-before-cross-entropy"),
        ({"rules": {"LOS018": {"exess": 1}}}, "LOS018"),
        ({"rules": {"LOS001": {"excess": 1}}}, "has no options"),
        ({"rules": {"NOPE01": {}}}, "unknown rule"),
        ({"sed": 3}, "unknown key sed; did you mean seed"),
        ({"seed": "three"}, "seed: expects an integer, got 'three'"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        nnlint.check(_classifier(), **settings)


def test_crashing_rule_is_reported_and_the_others_run() -> None:
    def check(graph: Graph) -> Iterator[Finding]:
        raise ValueError("broken rule")
        yield

    check.__doc__ = _PAGE
    check = rule("TST001", "always-crashes", level="error", since="0.1")(check)
    result = engine.check(_classifier(), CheckSettings(), registry=_one_rule(check))
    assert result.status == "failed"
    (finding,) = result.findings
    assert (finding.code, finding.name) == ("RUN007", "rule-crashed")
    assert "TST001 always-crashes raised ValueError: broken rule" in finding.message
    assert finding.trace is not None
    assert "broken rule" in finding.trace
    assert [skipped.code for skipped in result.skipped] == ["TST001"]


def test_rule_without_headings_is_refused_with_its_file() -> None:
    with pytest.raises(RuleError, match=r"test_engine\.py: rule TST002 no-page: the docstring lacks"):

        @rule("TST002", "no-page", level="error", since="0.1")
        def check(graph: Graph) -> Iterator[Finding]:
            """No headings."""
            yield Finding(at=Place(), message="", fix="")


def test_forward_that_raises_keeps_static_findings() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Linear(3, 3)
            self.body = nn.Linear(20, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x[:, :10])

    setup = {**_classifier(), "model": Broken(), "optimizer": None}
    report = nnlint.check(setup)
    codes = {finding.code for finding in report.findings}
    assert "RUN002" in codes
    assert "ARC001" in codes | {skipped.code for skipped in report.skipped}
    failure = next(finding for finding in report.findings if finding.code == "RUN002")
    assert failure.module == "body"
    assert "takes 20 features and was given 10" in failure.fix
    assert report.exit_status() == 2


def test_exit_in_user_code_is_a_failure_not_an_exit() -> None:
    class Exits(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sys.exit(0)

    report = nnlint.check({"model": Exits(), "inputs": torch.randn(2, 3)})
    (failure,) = (finding for finding in report.findings if finding.code == "RUN002")
    assert "the code called exit (0)" in failure.message
    assert report.exit_status() == 2


def test_prints_of_user_code_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    class Chatty(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            print("hello from forward")
            return super().forward(x)

    nnlint.check({"model": Chatty(4, 2), "inputs": torch.randn(8, 4)}, select=["LOS", "SIG"])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "hello from forward" in captured.err


def test_partial_reports_come_while_measuring() -> None:
    seen: list[TargetReport] = []
    engine.check(_classifier(), CheckSettings(), on_progress=seen.append)
    assert len(seen) > 1
    assert len(seen[-1].skipped) >= len(seen[0].skipped)


def test_static_check_runs_nothing_on_real_values() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)
            self.values: list[float] = []

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.values.append(1.0)
            assert type(x).__name__ == "FakeTensor"
            return torch.softmax(self.layer(x), dim=1)

    model = Counting()
    setup = {"model": model, "inputs": torch.randn(8, 4), "targets": torch.arange(8) % 3, "loss": nn.CrossEntropyLoss()}
    report = nnlint.check(setup, static=True)
    assert "LOS001" in {finding.code for finding in report.findings}
    assert model.values == []
    assert any("static check" in skipped.reason for skipped in report.skipped)


def test_budget_that_is_used_up_skips_and_says_so() -> None:
    report = nnlint.check(_classifier(), budget="1ms")
    assert any("time budget" in skipped.reason for skipped in report.skipped)


def test_meta_model_is_checked_without_memory() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(20, 100_000), nn.ReLU(), nn.Linear(100_000, 100_000), nn.Softmax(dim=1))
    setup = {"model": model, "inputs": torch.randn(4, 20), "targets": torch.arange(4), "loss": nn.CrossEntropyLoss()}
    report = nnlint.check(setup)
    assert "LOS001" in {finding.code for finding in report.findings}
    assert all(parameter.is_meta for parameter in model.parameters())


def test_fingerprints_are_stable_and_distinct() -> None:
    first = nnlint.check(_classifier(nn.Softmax(dim=1)))
    second = nnlint.check(_classifier(nn.Softmax(dim=1)), seed=7)
    assert [f.fingerprint for f in first.findings if f.code == "LOS001"] == [
        f.fingerprint for f in second.findings if f.code == "LOS001"
    ]
    assert len({finding.fingerprint for finding in first.findings}) == len(first.findings)


class DoublesItsWeightUncounted(nn.Module):
    """Writes through `.data` in evaluation mode, where torch does not count it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(256, 256)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            self.linear.weight.data.mul_(2.0)
        return self.linear(x)


@pytest.mark.parametrize("select", [("ARC012",), ("ALL",)])
def test_writes_in_evaluation_mode_are_undone_at_the_end(select: tuple[str, ...]) -> None:
    model = DoublesItsWeightUncounted()
    before = model.linear.weight.detach().clone()
    engine.check({"model": model, "inputs": torch.randn(8, 256)}, CheckSettings(select=select))
    assert torch.equal(model.linear.weight, before)
