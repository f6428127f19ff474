"""The text report."""

from __future__ import annotations

import click
import pytest

from nnlint.finding import Level
from nnlint.report import Report, ReportedFinding, Skipped, SourceLocation, TargetReport
from nnlint.reporters import render
from nnlint.reporters.excerpt import span
from nnlint.reporters.options import ReportOptions

SNAPSHOT = """\
mymodel:build_fn   Net, 3.27 M parameters; batch 64 x (1, 28, 28); cross_entropy; Adam lr 0.001
                   assumed: nothing

error LOS002 sigmoid-before-cross-entropy                               mymodel.py:8 in Net.forward
  sigmoid's output goes into cross_entropy (train.py:12), which applies softmax itself: the loss
  cannot fall below 1.461 for 10 classes
      7 |         x = self.fc2(x)
      8 |         return torch.sigmoid(x)
        |                ^^^^^^^^^^^^^^^^
  fix   return the logits `x`; apply softmax only where probabilities are shown
  more  nnlint explain LOS002

warning ARC024 sigmoid-chain                        mymodel.py:6 in Net.forward (conv1, conv2, fc1)
  three sigmoids in sequence: the gradient shrinks 0.14x a layer
      5 |     def forward(self, x):
      6 |         x = self.fc1(x)  # first
        |             ^^^^^^^^^^^
      7 |         x = self.fc2(x)
  seen as  GRD001 gradient of conv1 is 1.4e-3 of fc2's; SIG006 samples differ by 2.6 % at fc1
  fix   ReLU or GELU between the layers
  more  nnlint explain ARC024

info INI010 odd-bias  fc1  the bias is 100 % ones

layer      output std    zeros    dead    gradient (activation)    update/weight
conv1           0.021      0 %       -                  3.1e-05          4.0e-04
fc2               1.5     52 %    25 %                      nan                -

1 error, 1 warning, 1 info. 3 rules skipped; --show skipped lists why.
measured in 0.41 s (3.6 training steps) on cpu, seed 0
"""


def test_snapshot(report: Report):
    assert render("text", report, ReportOptions(width=99)) == SNAPSHOT


def test_color_changes_nothing_but_color(report: Report):
    styled = render("text", report, ReportOptions(width=99, color=True))
    assert click.unstyle(styled) == SNAPSHOT
    assert "\x1b[31m" in styled


@pytest.mark.parametrize("width", [1, 60, 72, 200])
def test_text_wraps_to_the_terminal(report: Report, width: int):
    table = ("layer ", "conv1 ", "fc2 ")
    lines = [line for line in render("text", report, ReportOptions(width=width)).splitlines() if line[:6] not in table]
    assert all(len(line) <= max(width, 60) for line in lines if not line.startswith(("layer", "conv1", "fc2")))


def clean(**fields: object) -> str:
    result = TargetReport(target="m:f", **fields)
    return render("text", Report(nnlint="0.1.0", results=[result]), ReportOptions(width=100))


def test_a_clean_target():
    assert clean() == "m:f\n\nno findings.\n"


def test_a_failed_target_does_not_look_clean():
    assert "The check stopped before the end." in clean(status="failed")


def test_several_targets_have_a_total(report: Report):
    both = report.model_copy(update={"results": [*report.results, *report.results]})
    assert render("text", both, ReportOptions()).endswith("\n\n2 targets: 2 errors, 2 warnings, 2 infos.\n")


def test_layers_are_shown_on_request_alone():
    layers = {"layers": [{"layer": f"fc{number}", "std": 1.0} for number in range(60)]}
    result = TargetReport(target="m:f", measurements=layers)
    report = Report(nnlint="0.1.0", results=[result])
    assert "output std" not in render("text", report, ReportOptions())
    shown = render("text", report, ReportOptions(show=frozenset({"layers"})))
    assert all(f"fc{number} " in shown for number in range(60))


def test_a_long_table_keeps_the_layers_findings_are_about():
    layers = {"layers": [{"layer": f"fc{number}", "std": 1.0} for number in range(60)]}
    finding = ReportedFinding(code="SIG001", name="dead-units", level=Level.WARNING, message="dead", module="fc30")
    shown = clean(measurements=layers, findings=[finding])
    table = [line.split()[:2] for line in shown.splitlines() if line.startswith(("fc", "..."))]
    names = [row[0] if row[0] != "..." else int(row[1]) for row in table]
    assert names == ["fc0", "fc1", "fc2", 27, "fc30", 26, "fc57", "fc58", "fc59"]


def test_a_trace_is_shown_from_its_end():
    trace = "\n".join(f"line {number}" for number in range(40))
    finding = ReportedFinding(code="RUN007", name="rule-crashed", level=Level.ERROR, message="raised", trace=trace)
    shown = clean(findings=[finding], status="failed")
    assert "line 39" in shown
    assert "line 20" not in shown
    assert "24 lines more" in shown


def test_skipped_rules_are_listed_on_request(report: Report):
    shown = render("text", report, ReportOptions(width=99, show=frozenset({"skipped"})))
    assert (
        """
skipped DAT011 x  no validation data
skipped OPT012 x  no scheduler
skipped TRN006 x  no validation data

1 error, 1 warning, 1 info. 3 rules skipped.
"""
        in shown
    )


def test_one_skipped_rule_is_counted_and_named_on_request():
    skipped = [Skipped(code="TRN006", name="x", reason="no validation data")]
    assert clean(skipped=skipped) == "m:f\n\nno findings. 1 rule skipped; --show skipped lists why.\n"
    result = TargetReport(target="m:f", skipped=skipped)
    shown = render("text", Report(nnlint="0", results=[result]), ReportOptions(show=frozenset({"skipped"})))
    assert shown == "m:f\n\nskipped TRN006 x  no validation data\n\nno findings. 1 rule skipped.\n"


def test_a_source_that_is_gone_is_shown_from_the_report():
    location = SourceLocation(file="gone.py", line=3, text="\treturn f(x)")
    shown = clean(findings=[ReportedFinding(code="A", name="a", level=Level.ERROR, message="m", location=location)])
    assert "      3 |     return f(x)\n        |            ^^^^\n" in shown
    nothing = location.model_copy(update={"text": None})
    shown = clean(findings=[ReportedFinding(code="A", name="a", level=Level.ERROR, message="m", location=nothing)])
    assert "^" not in shown


def test_control_characters_of_the_source_do_not_reach_the_terminal():
    location = SourceLocation(file="gone.py", line=3, text="f('\x1b[2J\x07')")
    finding = ReportedFinding(code="A", name="a", level=Level.ERROR, message="m", location=location)
    shown = render(
        "text", Report(nnlint="0", results=[TargetReport(target="t", findings=[finding])]), ReportOptions(color=True)
    )
    assert "\x07" not in shown
    assert "\x1b[2J" not in shown


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("    return torch.sigmoid(x)", "torch.sigmoid(x)"),
        ("x = self.fc(x)  # comment", "self.fc(x)"),
        ("    x, (h, c) = self.rnn(x)", "x, (h, c) = self.rnn(x)"),
        ("a, b = f(x)", "f(x)"),
        ("x[0] += g(x)", "g(x)"),
        ("x: Tensor = g(x)", "g(x)"),
        ("loss(x, weight=w)", "loss(x, weight=w)"),
        ("if x == y:", "if x == y:"),
        ("f('#', x)", "f('#', x)"),
        ("return", "return"),
    ],
)
def test_the_carets_lie_under_the_expression(line, code):
    start, length = span(line)
    assert line[start : start + length] == code
