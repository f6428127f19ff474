"""`nnlint lr`: the learning rates a target can be trained with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nnlint.cli import completion
from nnlint.cli.errors import INTERRUPTED, Refusal, require_streams
from nnlint.cli.options import measure_options

if TYPE_CHECKING:
    from nnlint.config import CheckSettings, Config
    from nnlint.report import TargetReport

_PROBE = "lr-range"
_SUBJECT = ("input", "loss", "batch_size", "classes", "weights", "device", "seed", "budget")


@click.command()
@click.argument("target", shell_complete=completion.targets)
@measure_options
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", help="Default: text.")
@click.pass_context
def lr(context: click.Context, /, target: str, **options: Any) -> None:
    """Measure the learning rates TARGET can be trained with.

    Sweeps the learning rate of the target's own optimizer (AdamW where it has none) on its batch and tries rates around
    the minimum: prints the interval from where the loss starts to move to a third of where training diverges, a
    suggestion inside it, where the configured rate stands, and the curve. Changes nothing.

    Exit status: 0 measured; 2 it could not be.
    """
    from nnlint import worker
    from nnlint.cli.checking import limits
    from nnlint.cli.progress import progress_bar

    require_streams()
    settings, config = _settings(target, options)
    try:
        if options["in_process"]:
            results = worker.check_here([target], settings).results
        else:
            with progress_bar(options["style"]) as on_step:
                results = worker.check([target], settings, limits=limits(options, config), on_step=on_step).results
    except KeyboardInterrupt:
        click.echo("nnlint: interrupted", err=True)
        context.exit(INTERRUPTED)
    if len(results) > 1:
        raise Refusal(f"{target} holds several players: name a build function that returns one of them")
    (result,) = results
    measured = result.measurements.get(_PROBE, {})
    complete = "rates" in measured
    if options["style"] == "json":
        _write_json(result, settings, measured)
    elif complete:
        _write_text(result, measured)
    for finding in result.findings:
        fix = f"; fix: {finding.fix}" if finding.fix else ""
        click.echo(f"nnlint: {finding.code} {finding.message}{fix}", err=True)
    if not complete:
        reason = measured.get("skipped", "the check stopped before this measurement")
        click.echo(f"nnlint: exit status 2: the learning rates of {target} could not be measured: {reason}", err=True)
    context.exit(0 if complete else 2)


def _settings(target: str, options: Mapping[str, Any]) -> tuple[CheckSettings, Config]:
    """The settings of a check that runs this probe and no rule, and the configuration.

    Raises:
        Refusal: the configuration is wrong.
    """
    from nnlint.config import ConfigError, load

    # Failures of the check itself are the RUN rules', which are on whatever is selected.
    changes: dict[str, object] = {"probes": (_PROBE,), "select": ("RUN",), "extend_select": (), "ignore": ()}
    changes |= {"deep": False, "static": False, "rules": {}}
    changes |= {name: options[name] for name in _SUBJECT if options[name] not in (None, ())}
    try:
        config = load(options["config"])
        return config.settings(changes, target=config.own(target, Path.cwd())), config
    except ConfigError as error:
        raise Refusal(str(error)) from error


def _write_json(result: TargetReport, settings: CheckSettings, measured: Mapping[str, Any]) -> None:
    from nnlint._version import __version__
    from nnlint.report import SCHEMA_VERSION
    from nnlint.reporters.json import plain

    content = {
        "schema_version": SCHEMA_VERSION,
        "nnlint": __version__,
        "seed": settings.seed,
        "target": result.target,
        "status": result.status,
        "subject": result.subject,
        "assumptions": result.assumptions,
        "learning_rate_range": measured,
        "findings": [finding.model_dump() for finding in result.findings],
        "timings": result.timings,
    }
    click.echo(json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False))


def _write_text(result: TargetReport, measured: Mapping[str, Any]) -> None:
    import shutil

    from nnlint.reporters.lr_curve import render

    click.echo(render(result, measured, width=min(shutil.get_terminal_size((100, 40)).columns, 100)), nl=False)
