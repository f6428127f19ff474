"""Suppressions."""

from __future__ import annotations

import pytest

from nnlint.config import Override
from nnlint.finding import Level
from nnlint.report import ReportedFinding, Skipped, SourceLocation, TargetReport
from nnlint.suppress import apply


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
    expected = ("nothing to suppress for SIG001 at body (known): remove the entry",) if told else ()
    assert apply([result(**fields)], [override]).warnings == expected
