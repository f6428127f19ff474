"""`nnlint baseline`: accept the findings of today, so that a gate fails on new ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nnlint.cli import completion
from nnlint.cli.checking import checked_report, configured_baseline, prepared
from nnlint.cli.errors import INTERRUPTED, Refusal, require_streams
from nnlint.cli.options import cache_option, measure_options, rule_options

if TYPE_CHECKING:
    from nnlint.report import Report


@click.command()
@click.argument("targets", nargs=-1, shell_complete=completion.targets)
@measure_options
@rule_options
@cache_option
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File to write. Default: `baseline` in the configuration, else nnlint-baseline.json.",
)
@click.pass_context
def baseline(context: click.Context, /, targets: tuple[str, ...], path: Path | None, **options: Any) -> None:
    """Check TARGETS, or those of the configuration, and write their findings to a baseline.

    `nnlint check --baseline FILE` then reports only other findings. Entries of targets that are not checked here are kept;
    entries whose finding is gone are dropped and listed.

    Exit status: 0 written; 2 something could not be checked, and nothing was written.
    """
    from nnlint import baseline as baselines

    require_streams()
    run = prepared(targets, {**_DEFAULTS, **options}, with_baseline=False)
    file = path or configured_baseline(run.config) or Path(baselines.FILE_NAME)
    if not file.absolute().parent.is_dir():
        raise Refusal(f"{file}: the folder {file.parent} does not exist")
    try:
        old = baselines.read(file) if file.exists() else baselines.Baseline()
        report = checked_report(run, {**_DEFAULTS, **options})
    except baselines.BaselineError as error:
        raise Refusal(str(error)) from error
    except KeyboardInterrupt:
        click.echo("nnlint: interrupted", err=True)
        context.exit(INTERRUPTED)
    if report.exit_status(None):
        raise Refusal(f"{file} was not written: {'; '.join(_incomplete(report))}")
    checked = {result.target for result in report.results}
    fresh = baselines.of_report(report)
    kept = [entry for entry in old.findings if entry.target not in checked]
    made = baselines.Baseline(
        findings=tuple(sorted([*kept, *fresh.findings], key=lambda e: (e.target, e.code, e.module)))
    )
    try:
        file.write_text(made.text(), encoding="utf-8")
    except OSError as error:
        raise Refusal(f"{file} cannot be written: {error.strerror}") from error
    for entry in baselines.apply(report.results, old).stale:
        click.echo(f"gone: {entry.place}")
    click.echo(f"{file}: {sum(entry.count for entry in made.findings)} known findings")


def _incomplete(report: Report) -> Iterator[str]:
    """The targets that could not be checked completely, and why."""
    for result in report.results:
        reasons = [f"{finding.code} {finding.message}" for finding in result.findings if finding.code.startswith("RUN")]
        if reasons:
            yield f"{result.target} could not be checked completely ({reasons[0]})"


#: Options of `check` that this command does not have.
_DEFAULTS: dict[str, Any] = {
    "fail_on": None,
    "static": None,
    "deep": None,
    "probes": (),
    "details": None,
    "style": "text",
    "baseline": None,
}
