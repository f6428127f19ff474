"""The options of `nnlint check`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from nnlint.cli import completion
from nnlint.reporters import REPORTERS

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _seconds(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """Seconds, written 60s, 2m, 1h or as a plain number."""
    if value is None:
        return None
    from nnlint.units import seconds

    try:
        return seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _bytes(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    from nnlint.units import size

    try:
        return None if value is None else size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _listed(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """The parts of comma separated, repeated values."""
    return tuple(part.strip() for value in values for part in value.split(",") if part.strip())


_LISTED: dict[str, Any] = {
    "multiple": True,
    "callback": _listed,
    "metavar": "RULES",
    "shell_complete": completion.rule_lists,
}
_DURATION: dict[str, Any] = {"callback": _seconds, "metavar": "DURATION"}

_SUBJECT = (
    click.option(
        "--input", "input", multiple=True, metavar="SPEC", help="Example input; repeat for each `forward()` argument."
    ),
    click.option("--loss", metavar="LOSS", help="Loss to use if the target defines none."),
    click.option("--batch-size", type=click.IntRange(min=1), help="Batch size of the generated batch."),
    click.option("--classes", type=click.IntRange(min=1), help="Number of classes, if it cannot be inferred."),
    click.option("--weights", metavar="FILE", help="Checkpoint to load into the model."),
    click.option("--device", metavar="DEVICE", help="Device to measure on: cpu, cuda:0, ..."),
    click.option("--seed", type=click.IntRange(min=0), help="Same seed, same report. Default: 0."),
)
_RULES = (
    click.option("--select", **_LISTED, help="Run only these rules: codes, names, prefixes or ALL, comma separated."),
    click.option("--extend-select", **_LISTED, help="Also run these rules."),
    click.option("--ignore", **_LISTED, help="Also ignore these rules."),
    click.option(
        "--fail-on",
        type=click.Choice(["error", "warning", "info", "never"]),
        help="Exit with status 1 from this level on. Default: error.",
    ),
)
_PROBES = (
    click.option("--static/--no-static", default=None, help="Read only the graph; run nothing on real values."),
    click.option("--deep/--no-deep", default=None, help="Also run the longer probes."),
    click.option("--probe",
        "probes",
        multiple=True,
        metavar="NAME",
        shell_complete=completion.probes,
        help="Run one of the longer probes; repeatable.",
    ),
)
_LIMITS = (
    click.option("--budget", **_DURATION, help="Time budget for the probes of one target: 60s, 2m."),
    click.option("--timeout", **_DURATION, help="Stop a target that takes longer. Default: 10m."),
    click.option("--memory-limit", callback=_bytes, metavar="SIZE", help="Memory limit of one target: 800M, 4G."),
)
_BASELINE = (
    click.option(
        "--baseline",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Ignore the findings in this file; `nnlint baseline` writes it.",
    ),
)
_OUTPUT = (
    click.option(
        "--format", "style", type=click.Choice(list(REPORTERS)), default="text", help="Output format. Default: text."
    ),
    click.option(
        "--output",
        multiple=True,
        metavar="[FORMAT:]FILE",
        help="Also write a file; repeatable. The suffix sets the format.",
    ),
    click.option(
        "--show",
        multiple=True,
        type=click.Choice(["layers", "skipped"]),
        help="Add to the text report: the table of layers, or why rules were skipped.",
    ),
    click.option(
        "--statistics", "style", flag_value="statistics", help="Print counts by rule instead of the findings."
    ),
    click.option(
        "--color/--no-color", default=None, help="Default: color on a terminal; NO_COLOR and FORCE_COLOR override."
    ),
)
_RUN = (
    click.option(
        "--config", type=click.Path(path_type=Path), metavar="FILE", help="Default: the nearest pyproject.toml."
    ),
    click.option(
        "-j",
        "--jobs",
        type=click.IntRange(min=1),
        metavar="N",
        help="Number of targets to check in parallel. Default: 1.",
    ),
    click.option("--in-process", is_flag=True, help="Check in this process, for debuggers; no isolation, no timeout."),
)


_CHANGED = (
    click.option("--changed", is_flag=True, help="TARGETS are changed files: check what hangs on them. Default: ask git."),
)
_WATCHED = (click.option("--watch", is_flag=True, help="Stay, and check again what changes whenever a file is saved."),)
_CACHE = (click.option("--no-cache", is_flag=True, help="Measure anew what has not changed, too."),)


def check_options(command: Decorated) -> Decorated:
    """Add every option, in the order of the help text."""
    for option in reversed((*_SUBJECT, *_RULES, *_BASELINE, *_PROBES, *_LIMITS, *_OUTPUT, *_RUN, *_CHANGED, *_WATCHED, *_CACHE)):
        command = option(command)
    return command


def cache_option(command: Decorated) -> Decorated:
    """Add the option that leaves the cache alone."""
    for option in _CACHE:
        command = option(command)
    return command


_WATCH = (
    click.option("-m", "module", is_flag=True, help="SCRIPT is a module, as in python -m."),
    click.option(
        "--iterations", type=click.IntRange(min=1), default=4, help="Updates of each optimizer to watch. Default: 4."
    ),
    click.option("--fold/--no-fold", default=True, help="End epochs early to see the code between them."),
    click.option("--keep-going", is_flag=True, help="Let the script run to the end, with full epochs."),
    click.option("--until-evaluation", is_flag=True, help="Watch until the first evaluation."),
)


def run_options(command: Decorated) -> Decorated:
    """Add the options of `nnlint run`."""
    seed, budget, config = _SUBJECT[-1], _LIMITS[0], _RUN[0]
    for option in reversed((*_WATCH, *_RULES, *_BASELINE, *_PROBES, budget, seed, *_OUTPUT, config)):
        command = option(command)
    return command


def measure_options(command: Decorated) -> Decorated:
    """Add the options that say what to measure and how long that may take."""
    for option in reversed((*_SUBJECT, *_LIMITS, *_RUN)):
        command = option(command)
    return command


def rule_options(command: Decorated) -> Decorated:
    """Add the options that say which rules run."""
    for option in reversed(_RULES[:3]):
        command = option(command)
    return command
