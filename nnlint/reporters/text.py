"""Text for a terminal: what was checked, each finding with its place, source and fix, the layers, the counts."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import click

from nnlint import registry
from nnlint.finding import Level
from nnlint.report import Report, ReportedFinding, Skipped, TargetReport
from nnlint.reporters.excerpt import excerpt
from nnlint.reporters.options import ReportOptions
from nnlint.reporters.tables import layer_table
from nnlint.units import counted

_COLORS = {Level.ERROR: "red", Level.WARNING: "yellow", Level.INFO: "cyan"}
_NAMED_MODULES = 4
_COUNTED_STEPS = 100.0
_TRACE_LINES = 16
_NARROWEST = 60


def render(report: Report, options: ReportOptions) -> str:
    """The report for a person; styled only where the options say so."""
    lines: list[str] = []
    for result in report.results:
        lines += [*_target(result, report.seed, options), ""]
    if len(report.results) > 1:
        summary = report.summarized().summary
        counts = _counts(summary.errors, summary.warnings, summary.infos)
        lines += [f"{len(report.results)} targets: {counts}.", ""]
    text = "\n".join(lines[:-1]) + "\n" if lines else "nothing was checked\n"
    return text if options.color else click.unstyle(text)


def _target(result: TargetReport, seed: int, options: ReportOptions) -> Iterator[str]:
    width = max(options.width, _NARROWEST)
    yield from _heading(result, width)
    yield ""
    full = [finding for finding in result.findings if finding.level is not Level.INFO]
    for finding in full:
        yield from _finding(finding, options, width)
        yield ""
    infos = [finding for finding in result.findings if finding.level is Level.INFO]
    for info in infos:
        yield from _info(info, options, width)
    if infos:
        yield ""
    table = _layers(result, full, options)
    if table:
        yield from [*table, ""]
    if result.skipped and "skipped" in options.show:
        for skip in result.skipped:
            yield from _skip(skip, width)
        yield ""
    yield from _closing(result, seed, options, width)


def _heading(result: TargetReport, width: int) -> Iterator[str]:
    """What was checked and assumed, beside the target's name where there is room."""
    facts = "; ".join(_subject(result.subject))
    indent = len(result.target) + 3
    if indent > width // 2:
        indent = 2
        yield click.style(result.target, bold=True)
        yield from _wrapped(facts, " " * indent, width)
    elif facts:
        first, *rest = _wrapped(facts, " " * indent, width)
        yield click.style(result.target, bold=True) + first[len(result.target) :]
        yield from rest
    else:
        yield click.style(result.target, bold=True)
    if result.subject or result.assumptions:
        assumed = "; ".join(result.assumptions) or "nothing"
        yield from _wrapped(f"assumed: {assumed}", " " * indent, width)


def _subject(subject: dict[str, Any]) -> Iterator[str]:
    """The subject's facts in words; unknown keys are shown with their names."""
    known = {key: value for key, value in subject.items() if value is not None and value != "" and key != "device"}
    model, parameters = known.pop("model", None), known.pop("parameters", None)
    size = parameters if isinstance(parameters, str) else _count(parameters)
    head = [str(part) for part in (model, size and f"{size} parameters") if part]
    if head:
        yield ", ".join(head)
    for key, value in known.items():
        if key in {"loss", "optimizer"}:
            yield str(value)
        else:
            yield f"{key.replace('_', ' ')} {value}"


def _count(number: Any) -> str:
    """3.3 M for 3 300 000."""
    if not isinstance(number, int | float):
        return ""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number}"


def _finding(finding: ReportedFinding, options: ReportOptions, width: int) -> Iterator[str]:
    color = _COLORS[finding.level]
    title = f"{finding.level.value} {finding.code} {finding.name}"
    styled = (
        f"{click.style(finding.level.value, fg=color, bold=True)} {click.style(finding.code, bold=True)} {finding.name}"
    )
    place = _place(finding, options)
    room = width - len(title) - len(place)
    if room >= 2 or not place:
        yield styled + (" " * room + place if place else "")
    else:
        yield styled
        yield from _wrapped(place, "  ", width)
    yield from _wrapped(finding.message, "  ", width)
    if finding.location is not None:
        yield from excerpt(finding.location, lambda carets: click.style(carets, fg=color))
    if finding.symptoms:
        seen = "; ".join(f"{symptom.code} {symptom.message}" for symptom in finding.symptoms)
        yield from _labelled("seen as", seen, width)
    if finding.trace:
        yield from _trace(finding.trace)
    if finding.fix:
        yield from _labelled("fix", finding.fix, width)
    yield from _labelled("more", f"nnlint explain {finding.code}", width)


def _info(finding: ReportedFinding, options: ReportOptions, width: int) -> Iterator[str]:
    """An info on one line, as far as it fits."""
    head = f"{finding.level.value} {finding.code} {finding.name}"
    place = _place(finding, options)
    text = f"{head}  {place}  {finding.message}" if place else f"{head}  {finding.message}"
    first, *rest = textwrap.wrap(text, width, subsequent_indent="     ", **_WRAP)
    level = click.style(finding.level.value, fg=_COLORS[finding.level], bold=True)
    yield level + first[len(finding.level.value) :]
    yield from rest


def _place(finding: ReportedFinding, options: ReportOptions) -> str:
    """`mymodel.py:24 in Net.forward (conv1, conv2)`."""
    modules = list(dict.fromkeys(path for path in (finding.module, *finding.modules) if path))
    named = ", ".join(modules[:_NAMED_MODULES])
    if len(modules) > _NAMED_MODULES:
        named += f" and {len(modules) - _NAMED_MODULES} more"
    if finding.location is None:
        return named
    where = f"{options.path(finding.location.file)}:{finding.location.line}"
    if finding.location.function:
        where += f" in {finding.location.function}"
    return f"{where} ({named})" if named else where


def _trace(trace: str) -> Iterator[str]:
    lines = trace.rstrip().splitlines()
    if len(lines) > _TRACE_LINES:
        yield click.style(f"    ... {counted(len(lines) - _TRACE_LINES, 'line')} more in the JSON report", dim=True)
    for line in lines[-_TRACE_LINES:]:
        yield click.style(f"    {line}", dim=True)


def _layers(result: TargetReport, full: list[ReportedFinding], options: ReportOptions) -> list[str]:
    """The table of layers where it was asked for or a finding rests on it."""
    layers = result.measurements.get("layers")
    asked = "layers" in options.show
    if not isinstance(layers, list) or not (asked or _rests_on_layers(full)):
        return []
    concerned = {path for finding in full for path in (finding.module, *finding.modules)}
    return layer_table(layers, concerned, complete=asked)


def _rests_on_layers(findings: list[ReportedFinding]) -> bool:
    charts = registry.load().charts if findings else {}
    return any("layers" in charts.get(finding.code, ()) for finding in findings)


def _closing(result: TargetReport, seed: int, options: ReportOptions, width: int) -> Iterator[str]:
    counts = _counts(*(result.count(level) for level in (Level.ERROR, Level.WARNING, Level.INFO)))
    state = " The check stopped before the end." if result.status == "failed" else ""
    yield from _wrapped(f"{counts}.{state}{_skipped(result.skipped, options)}", "", width)
    if result.timings:
        # What the target's own imports take is none of nnlint's measuring.
        spent = result.timings.get("total", 0.0) - result.timings.get("build", 0.0)
        steps = result.timings.get("training_steps")
        # Beside the step of a tiny net nothing but nnlint's own start is seen, and it is as long for every model.
        in_steps = f" ({steps:.1f} training steps)" if steps is not None and steps < _COUNTED_STEPS else ""
        device = f" on {result.subject['device']}" if result.subject.get("device") else ""
        yield f"measured in {spent:.2f} s{in_steps}{device}, seed {seed}"


def _skip(skip: Skipped, width: int) -> Iterator[str]:
    """A skipped rule and its reason on one line, as far as it fits."""
    text = f"skipped {skip.code} {skip.name}".rstrip() + f"  {skip.reason}"
    yield from textwrap.wrap(text, width, subsequent_indent="     ", **_WRAP)


def _skipped(skipped: list[Skipped], options: ReportOptions) -> str:
    """How many rules were skipped; the reasons are a table that few need."""
    if not skipped:
        return ""
    said = f" {counted(len(skipped), 'rule')} skipped"
    return f"{said}." if "skipped" in options.show else f"{said}; --show skipped lists why."


def _counts(errors: int, warnings: int, infos: int) -> str:
    found = ((errors, "error"), (warnings, "warning"), (infos, "info"))
    return ", ".join(counted(number, word) for number, word in found if number) or "no findings"


#: Paths and code in messages are not torn apart.
_WRAP: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}


def _labelled(label: str, text: str, width: int) -> Iterator[str]:
    head = f"  {label:<5} " if len(label) <= 5 else f"  {label}  "
    first, *rest = _wrapped(text, " " * len(head), width)
    yield f"  {click.style(label, bold=True)}{head[2 + len(label) :]}{first[len(head) :]}"
    yield from rest


def _wrapped(text: str, indent: str, width: int) -> list[str]:
    """The paragraphs of the text within the width; at least one line."""
    lines = [
        line
        for paragraph in text.splitlines()
        for line in textwrap.wrap(paragraph, width, initial_indent=indent, subsequent_indent=indent, **_WRAP)
    ]
    return lines or [indent]
