"""`nnlint check`: check targets and report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nnlint.cli.errors import INTERRUPTED, Refusal, require_streams
from nnlint.cli.options import check_options

if TYPE_CHECKING:
    from nnlint.config import CheckSettings, Config
    from nnlint.registry import Registry
    from nnlint.report import Report
    from nnlint.worker import Limits

_REPLACED = (
    "input", "loss", "batch_size", "classes", "weights", "device", "seed", "select", "fail_on", "static", "deep",
    "probes", "budget", "details",
)  # fmt: skip
_ADDED = ("extend_select", "ignore")


@click.command()
@click.argument("targets", nargs=-1)
@check_options
@click.pass_context
def check(context: click.Context, /, targets: tuple[str, ...], **options: Any) -> None:
    """Check TARGETS, or those of the configuration.

    A target is pkg.module:attr or path/to/file.py:attr, a model or a function that returns one; timm:NAME,
    torchvision:NAME and hf:CONFIG_PATH where these libraries are installed.

    Exit status: 0 nothing at or above --fail-on; 1 findings; 2 something could not be checked.
    """
    from nnlint.cli.output import destination, require, write

    require_streams()
    require(options["style"])
    files = [destination(text, options["style"]) for text in options["output"]]
    drawn = "html" in (options["style"], *(file.style for file in files))
    run = _prepared(targets, {**options, "details": drawn or None})
    try:
        report = _checked(run, options)
    except KeyboardInterrupt:
        click.echo("nnlint: interrupted", err=True)
        context.exit(INTERRUPTED)
    write(report, options["style"], files, _report_options(run.registry, options))
    status = report.exit_status(run.settings.fail_on)
    if status:
        click.echo(f"nnlint: exit status {status}: {_why(report, run.settings)}", err=True)
    context.exit(status)


@dataclass(frozen=True)
class _Run:
    """A check that may begin: everything that can be wrong before is not."""

    targets: tuple[str, ...]
    settings: CheckSettings
    config: Config
    registry: Registry


def _prepared(targets: tuple[str, ...], options: Mapping[str, Any]) -> _Run:
    """Read the configuration and judge it; warnings go to standard error.

    Raises:
        Refusal: usage or configuration are wrong.
    """
    from nnlint.cli.catalogue import load_rules, unknown_ignores, validate
    from nnlint.config import ConfigError, load

    try:
        config = load(options["config"])
        settings = config.settings(_changes(options, config) | _place(targets, options, config))
    except ConfigError as error:
        raise Refusal(str(error)) from error
    chosen = targets or config.targets
    if not chosen:
        raise click.UsageError("no target: name one, such as mymodel:build_fn, or set targets in [tool.nnlint]")
    registry = load_rules()
    validate(settings, registry)
    for warning in unknown_ignores(settings, config.suppressions, registry):
        _warn(warning)
    return _Run(tuple(dict.fromkeys(chosen)), settings, config, registry)


def _changes(options: Mapping[str, Any], config: Config) -> dict[str, object]:
    """What the command line says otherwise than the configuration."""
    changes = {name: options[name] for name in _REPLACED if options[name] not in (None, ())}
    for name in _ADDED:
        changes[name] = (*getattr(config.values, name), *options[name])
    return changes


def _place(targets: tuple[str, ...], options: Mapping[str, Any], config: Config) -> dict[str, object]:
    """Targets of the configuration start from its folder, whatever the working directory is; paths typed here do not."""
    if targets or config.folder is None:
        return {}
    place: dict[str, object] = {"directory": config.folder}
    if options["weights"] is not None:
        place["weights"] = str(Path.cwd() / Path(options["weights"]).expanduser())
    return place


def _checked(run: _Run, options: Mapping[str, Any]) -> Report:
    from nnlint import suppress, worker
    from nnlint._version import __version__
    from nnlint.cli.progress import progress_bar
    from nnlint.report import Report

    if options["in_process"]:
        checked = worker.check_here(run.targets, run.settings)
    else:
        with progress_bar(options["style"]) as on_step:
            checked = worker.check(run.targets, run.settings, limits=limits(options, run.config), on_step=on_step)
    suppressed = suppress.apply(checked.results, run.config.suppressions)
    for warning in suppressed.warnings:
        _warn(warning)
    results = list(suppressed.results)
    return Report(nnlint=__version__, torch=checked.torch, seed=run.settings.seed, results=results).summarized()


def limits(options: Mapping[str, Any], config: Config) -> Limits:
    """What the command line, or else the configuration, allows one target.

    Raises:
        Refusal: this system cannot limit the memory of a process.
    """
    import importlib.util

    from nnlint.worker import Limits

    given = {name: options[name] or getattr(config.values, name) for name in ("timeout", "memory_limit", "jobs")}
    if given["memory_limit"] is not None and importlib.util.find_spec("resource") is None:
        raise Refusal("--memory-limit: this system cannot limit the memory of a process")
    return Limits(timeout=given["timeout"], memory=given["memory_limit"], jobs=given["jobs"])


def _report_options(registry: Registry, options: Mapping[str, Any]) -> Any:
    import shutil

    from nnlint.cli.output import wants_color
    from nnlint.reporters.options import ReportOptions

    return ReportOptions(
        width=min(shutil.get_terminal_size((120, 40)).columns, 140),
        color=wants_color(options["color"]),
        show=frozenset(options["show"]),
        root=Path.cwd(),
        rules=registry.rules,
    )


def _why(report: Report, settings: CheckSettings) -> str:
    """The reason of an exit status other than 0."""
    failed = [result.target for result in report.results if result.status == "failed"]
    if failed:
        return f"{', '.join(failed)} could not be checked completely"
    broken = dict.fromkeys(finding.code for finding in report.findings if finding.code.startswith("RUN"))
    if broken:
        return f"the check itself has findings ({', '.join(broken)})"
    threshold = settings.fail_on
    number = sum(threshold is not None and finding.level.at_least(threshold) for finding in report.findings)
    gravity = f"{threshold.value} or above" if threshold is not None else ""
    return f"{number} finding{'s' if number > 1 else ''} of level {gravity} (--fail-on)"


def _warn(text: str) -> None:
    click.echo(f"nnlint: warning: {text}", err=True)
