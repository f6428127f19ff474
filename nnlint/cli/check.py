"""`nnlint check`: check targets and report."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from nnlint.cli import completion
from nnlint.cli.checking import accepted, answered, prepared, report_options, warn, why
from nnlint.cli.errors import INTERRUPTED, Refusal, require_streams
from nnlint.cli.options import check_options

if TYPE_CHECKING:
    from nnlint.cli.checking import Run
    from nnlint.cli.output import Destination
    from nnlint.worker import Answer, Checked


@click.command()
@click.argument("targets", nargs=-1, shell_complete=completion.targets)
@check_options
@click.pass_context
def check(context: click.Context, /, targets: tuple[str, ...], **options: Any) -> None:
    """Check TARGETS, or those of the configuration.

    A target is pkg.module:attr or path/to/file.py:attr, a model or a function that returns one; timm:NAME,
    torchvision:NAME and hf:CONFIG_PATH where these libraries are installed.

    With --changed, TARGETS are files that changed (none: those that git tells of), and only the targets of the configuration are
    checked that hang on one of them, directly or through what they import and read.

    Under torchrun every rank checks, so that collectives meet, and rank 0 alone reports.

    Exit status: 0 nothing at or above --fail-on; 1 findings; 2 something could not be checked.
    """
    from nnlint.cli.cached import store_of
    from nnlint.cli.changed import concerned, split
    from nnlint.cli.output import destination, is_drawn, require

    require_streams()
    require(options["style"])
    files = [destination(text, options["style"]) for text in options["output"]]
    options["no_cache"] |= is_rank()  # an answer on one rank would leave the others alone in their collectives
    named, files_changed = split(targets) if options["changed"] else (targets, ())

    def begin() -> Run:
        run = prepared(named, {**options, "details": is_drawn(options["style"], files) or None})
        if not options["changed"]:
            return run
        return concerned(run, files_changed, store_of(run.config, use=not options["no_cache"]))

    if options["watch"]:
        context.exit(_watch(begin, options))
    try:
        if is_reported_by_rank_0():
            with _without_a_word():
                answered(begin(), options)
            context.exit(0)  # another status would make torchrun end rank 0 before its report
        context.exit(_checked(begin(), options, files))
    except KeyboardInterrupt:
        click.echo("nnlint: interrupted", err=True)
        context.exit(INTERRUPTED)


def _checked(run: Run, options: Mapping[str, Any], files: Sequence[Destination]) -> int:
    """Check and report; gives the exit status."""
    return _reported(answered(run, options), run, options, files)


def _reported(checked: Checked, run: Run, options: Mapping[str, Any], files: Sequence[Destination] = ()) -> int:
    from nnlint.cli.comments import unused_comments
    from nnlint.cli.output import write

    report = accepted(checked.results, run, torch=checked.torch)
    write(report, options["style"], files, report_options(run, options, files))
    for warning in unused_comments(run, checked):
        warn(warning)
    status = run.status(report) if run.tasks else 0  # nothing to check: standard error says why
    if status:
        click.echo(f"nnlint: exit status {status}: {why(report, run)}", err=True)
    return status


def _watch(begin: Callable[[], Run], options: Mapping[str, Any]) -> int:
    """Check, and check again on save, until Ctrl-C.

    Raises:
        Refusal: an option does not go with it, or watchfiles is not installed.
    """
    from nnlint.cli import watching

    for name in ("changed", "output", "in_process"):
        if options[name]:
            raise Refusal(f"--watch does not go with --{name.replace('_', '-')}")
    watching.require_watchfiles()

    def check(run: Run) -> Sequence[Answer]:
        checked = answered(run, options, record=True)
        _reported(checked, run, options)
        return checked.answers

    try:
        run = begin()
        watch = watching.Watch(run)
        watch.note(check(run))
        watching.check_on_save(watch, check, begin)
    except KeyboardInterrupt:
        click.echo("nnlint: stopped", err=True)
    return 0


def is_reported_by_rank_0() -> bool:
    """Whether torchrun started this process as a rank other than 0; a lone RANK in the environment may be a leftover."""
    return is_rank() and os.environ["RANK"] != "0"


def is_rank() -> bool:
    """Whether torchrun started this process as one of several: all of them check, or collectives wait forever."""
    from nnlint.observation.ranks import Exchange

    return Exchange.of_environment() is not None and "TORCHELASTIC_RUN_ID" in os.environ


@contextlib.contextmanager
def _without_a_word() -> Iterator[None]:
    """Keep what nnlint itself would say to standard error; what the target's own process prints there stays."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield
