"""Suppressions."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nnlint.finding import Level
from nnlint.overrides import Override
from nnlint.registry import load
from nnlint.report import ReportedFinding, Skipped, SourceLocation, TargetReport
from nnlint.suppress import accepted_by_modules, apply


def result(*, code: str = "LOS001", module: str = "head", text: str | None = None, **fields: object) -> TargetReport:
    location = None if text is None else SourceLocation(file="gone.py", line=1, text=text)
    finding = ReportedFinding(
        code=code, name="a-name", level=Level.ERROR, message="m", module=module, location=location
    )
    return TargetReport(target="pkg.m:f", findings=[finding], **fields)


@pytest.mark.parametrize("selector", ["LOS001", "los", "a-name", "ALL"])
@pytest.mark.parametrize(("target", "module"), [("*", "*"), ("pkg.*", "h*d"), ("pkg.m:f", "head")])
def test_an_override_takes_the_finding_out_and_tells(selector, target, module):
    override = Override(target=target, module=module, ignore=(selector,), reason="known")
    suppressed = apply([result()], [override])
    (cleaned,) = suppressed.results
    assert cleaned.findings == []
    assert cleaned.assumptions == ["LOS001 a-name at head is suppressed: known"]
    assert suppressed.warnings == ()


@pytest.mark.parametrize(
    "override",
    [
        Override(target="other:*", ignore=("LOS001",), reason="known"),
        Override(module="body*", ignore=("LOS001",), reason="known"),
        Override(ignore=("LOS002",), reason="known"),
    ],
)
def test_an_override_for_something_else_leaves_the_finding(override):
    given = result()
    assert apply([given], [override]).results == (given,)


def test_a_check_that_could_not_run_is_never_suppressed():
    given = result(code="RUN001", text="f()  # nnlint: disable=ALL no")
    assert apply([given], [Override(ignore=("ALL",), reason="no")]).results == (given,)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("f(x)  # nnlint: disable=LOS001 distilled", "distilled"),
        ("f(x)  # nnlint: disable=SIG001, a-name - distilled", "distilled"),
        ("f(x)  #nnlint:disable=LOS", "no reason given"),
        ("f(x)  # noqa  # nnlint: disable=LOS001 x", "x"),
        ("f(x)  # nnlint: disable=SIG001 other", None),
        ("f(x)  # LOS001", None),
    ],
)
def test_a_comment_on_the_line(text, reason):
    (cleaned,) = apply([result(text=text)]).results
    assert (cleaned.findings == []) is (reason is not None)
    assert cleaned.assumptions == ([f"LOS001 a-name at head is suppressed: {reason}"] if reason else [])


def test_the_comment_is_read_from_the_file(tmp_path):
    file = tmp_path / "m.py"
    file.write_text("a = 1\nf(x)  # nnlint: disable=LOS001 here\n", encoding="utf-8")
    given = result()
    given.findings[0].location = SourceLocation(file=str(file), line=2, text="f(x)")
    assert apply([given]).results[0].findings == []


UNUSED = Override(module="body", ignore=("SIG001",), reason="known")


@pytest.mark.parametrize(
    ("override", "fields", "told"),
    [
        (UNUSED, {}, True),
        (UNUSED, {"status": "failed"}, False),
        (UNUSED, {"skipped": [Skipped(code="SIG001", reason="static")]}, False),
        (UNUSED.model_copy(update={"target": "elsewhere:*"}), {}, False),
    ],
)
def test_unused_entries_are_told_where_it_is_known(override, fields, told):
    expected = ("unused suppression: SIG001 at body (known)",) if told else ()
    assert apply([result(**fields)], [override]).warnings == expected


class Layer:
    """Stands for a module of a model."""

    def __init__(self, disable: object = None) -> None:
        if disable is not None:
            self.nnlint_disable = disable


def by_module(path: str, disable: object, given: TargetReport) -> TargetReport:
    rules = [rule for rule in load().rules if rule.code in {"LOS001", "SIG001"}]
    return accepted_by_modules(given, [("", Layer()), (path, Layer(disable))], rules)


@pytest.mark.parametrize("selector", ["LOS001", "los", "ALL"])
@pytest.mark.parametrize(("path", "module"), [("head", "head"), ("head", "head.0.fc"), ("", "head")])
def test_a_module_accepts_findings_at_it_and_inside_it(selector, path, module):
    cleaned = by_module(path, {selector: "meant"}, result(module=module))
    assert cleaned.findings == []
    assert cleaned.assumptions == [f"LOS001 a-name at {module} is suppressed: meant"]


@pytest.mark.parametrize(("path", "module"), [("head", "header"), ("head.0", "head"), ("body", "head")])
def test_a_module_accepts_nothing_elsewhere_and_the_useless_entry_is_told(path, module):
    given = result(module=module)
    cleaned = by_module(path, {"LOS001": "meant"}, given)
    assert cleaned.findings == given.findings
    assert cleaned.assumptions == [f"unused suppression: LOS001 at {path} (meant)"]


@pytest.mark.parametrize(
    ("disable", "fields"),
    [
        ({"SIG001": "meant"}, {"skipped": [Skipped(code="SIG001", name="dead-units", reason="r")]}),
        ({"SIG001": "meant"}, {"status": "failed"}),
        ({"NRM001": "meant"}, {}),  # not run: nobody knows
    ],
)
def test_an_entry_that_nobody_could_judge_is_not_called_useless(disable, fields):
    given = result(**fields)
    assert by_module("head", disable, given) == given


@pytest.mark.parametrize("disable", ["LOS001", ["LOS001"], {"LOS001": ""}, {1: "meant"}])
def test_a_value_without_rule_and_reason_suppresses_nothing_and_is_told(disable):
    cleaned = by_module("head", disable, result())
    assert [finding.code for finding in cleaned.findings] == ["LOS001"]
    assert cleaned.assumptions == ["nnlint_disable of head must be a dict of rule and reason; it is ignored"]


def test_a_module_never_accepts_that_the_check_could_not_run():
    given = result(code="RUN002", status="failed")
    assert by_module("head", {"ALL": "no"}, given) == given


@pytest.mark.parametrize(("text", "told"), [("f(x)  # nnlint: disable=LOS001", 1), ("f(x)  # nnlint: disable=LOS001 why", 0)])
def test_a_comment_without_a_reason_is_told(text, told):
    warnings = apply([result(text=text), result(text=text)]).warnings
    assert warnings == ("gone.py:1: `# nnlint: disable=LOS001` gives no reason: write it after the code",) * told


def test_a_module_that_accepts_with_a_blank_reason_accepts_nothing():
    layer = SimpleNamespace(nnlint_disable={"LOS001": " "})
    kept = accepted_by_modules(result(), [("head", layer)], load().rules)
    assert len(kept.findings) == 1
    assert kept.assumptions == ["nnlint_disable of head must be a dict of rule and reason; it is ignored"]


def test_levels_change_no_check_that_could_not_run():
    entry = Override(levels={"ALL": Level.INFO}, reason="no")
    assert apply([result(code="RUN001")], [entry]).results == (result(code="RUN001"),)
    (changed,) = apply([result()], [entry]).results
    assert [finding.level for finding in changed.findings] == [Level.INFO]
