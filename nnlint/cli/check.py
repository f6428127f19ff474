"""`nnlint check`: check targets and report."""

from __future__ import annotations

from typing import Any

import click

from nnlint.cli.checking import checked_report, prepared, report_options, why
from nnlint.cli.errors import INTERRUPTED, require_streams
from nnlint.cli.options import check_options


@click.command()
@click.argument("targets", nargs=-1)
@check_options
@click.pass_context
def check(context: click.Context, /, targets: tuple[str, ...], **options: Any) -> None:
    """Check TARGETS, or those of the configuration.

    A target is pkg.module:attr or path/to/file.py:attr, a model or a function that returns one; timm:NAME,
    torchvision:NAME and hf:CONFIG_PATH where these libraries are installed.

    With --changed, TARGETS are files that changed (none: those that git tells of), and only the targets of the configuration are
    checked that hang on one of them, directly or through what they import and read.

    Exit status: 0 nothing at or above --fail-on; 1 findings; 2 something could not be checked.
    """
    from nnlint.cli.cached import store_of
    from nnlint.cli.changed import concerned, split
    from nnlint.cli.output import destination, is_drawn, require, write

    require_streams()
    require(options["style"])
    files = [destination(text, options["style"]) for text in options["output"]]
    named, files_changed = split(targets) if options["changed"] else (targets, ())
    run = prepared(named, {**options, "details": is_drawn(options["style"], files) or None})
    if options["changed"]:
        run = concerned(run, files_changed, store_of(run.config, use=not options["no_cache"]))
    try:
        report = checked_report(run, options)
    except KeyboardInterrupt:
        click.echo("nnlint: interrupted", err=True)
        context.exit(INTERRUPTED)
    write(report, options["style"], files, report_options(run, options, files))
    status = run.status(report) if run.tasks else 0  # nothing to check: standard error says why
    if status:
        click.echo(f"nnlint: exit status {status}: {why(report, run)}", err=True)
    context.exit(status)
