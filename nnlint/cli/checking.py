"""What the commands that check share: reading the configuration, running the check, saying why it ends as it does."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nnlint.cli.errors import Refusal

if TYPE_CHECKING:
    from nnlint.baseline import Baseline
    from nnlint.cli.output import Destination
    from nnlint.config import CheckSettings, Config, TargetSettings
    from nnlint.finding import Level
    from nnlint.registry import Registry
    from nnlint.report import Report, ReportedFinding, TargetReport
    from nnlint.reporters.options import ReportOptions
    from nnlint.worker import Checked, Limits, Task

_REPLACED = (
    "input", "loss", "batch_size", "classes", "weights", "device", "seed", "select", "fail_on", "static", "deep",
    "probes", "budget", "details",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A check that may begin: everything that can be wrong before is not.

    Attributes:
        tasks: the targets, each with its settings and limits.
        settings: those of a target that has none of its own.
        config: the configuration.
        baseline: the known findings.
        baseline_file: where they come from.
    """

    tasks: tuple[Task, ...]
    settings: CheckSettings
    config: Config
    baseline: Baseline | None = None
    baseline_file: Path | None = None

    @cached_property
    def registry(self) -> Registry:
        """The rules; loading them takes longer than an answer from the cache.

        Raises:
            Refusal: a rule pack does not load, or there is none.
        """
        from nnlint.cli.catalogue import load_rules

        return load_rules()

    def judge(self) -> None:
        """Judge the settings against the rules, before anything of the user's is run.

        Raises:
            Refusal: they do not go together.
        """
        from nnlint.cli.catalogue import validate

        for settings in [self.settings, *(task.settings for task in self.tasks if task.settings != self.settings)]:
            validate(settings, self.registry)

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets, in the order of the reports."""
        return tuple(task.target for task in self.tasks)

    def fail_on(self, result: TargetReport) -> Level | None:
        """The level that fails the check of the report's target; a player's report is named `target:player`."""
        for task in self.tasks:
            if result.target == task.target or result.target.startswith(f"{task.target}:"):
                return task.settings.fail_on
        return self.settings.fail_on

    def failing(self, report: Report) -> list[ReportedFinding]:
        """The findings at or above the level that fails the check of their target."""
        found = []
        for result in report.results:
            level = self.fail_on(result)
            found += [finding for finding in result.findings if level is not None and finding.level.at_least(level)]
        return found

    def status(self, report: Report) -> int:
        """The exit status."""
        return report.exit_status(None) or int(bool(self.failing(report)))


def prepared(targets: tuple[str, ...], options: Mapping[str, Any], *, with_baseline: bool = True) -> Run:
    """Read the configuration; `Run.judge` is left to the caller. Warnings go to standard error.

    Raises:
        Refusal: usage or configuration are wrong.
    """
    from nnlint.cli.catalogue import unknown_rules
    from nnlint.config import ADDED, ConfigError, load

    try:
        config = load(options["config"])
        changes = {name: options[name] for name in _REPLACED if options.get(name) not in (None, ())}
        changes |= _place(targets, options, config)
        added = {name: options[name] for name in ADDED}
        settings = config.settings(changes, added=added)
        chosen = dict.fromkeys(targets or config.targets)
        entries = {target: config.own(target, Path.cwd() if targets else None) for target in chosen}
        own = {target: config.settings(changes, target=entry, added=added) for target, entry in entries.items()}
    except ConfigError as error:
        raise Refusal(str(error)) from error
    if not chosen:
        raise click.UsageError("no target: name one, such as mymodel:build_fn, or set targets in [tool.nnlint]")
    for warning in unknown_rules(_left_out((settings, *own.values()), config)):
        warn(warning)
    file = (options["baseline"] or configured_baseline(config)) if with_baseline else None
    known = _baseline(file) if file is not None else None
    tasks = tuple(_task(target, own[target], options, config, entry) for target, entry in entries.items())
    return Run(tasks, settings, config, known, file)


def _left_out(settings: Iterable[CheckSettings], config: Config) -> Iterator[tuple[str, str]]:
    """The rules that settings leave out, each with the key that says so."""
    yield from (("ignore", selector) for given in settings for selector in given.ignore)
    yield from (("overrides", selector) for entry in config.values.overrides for selector in entry.selectors)
    yield from (("expect", key.split()[0]) for key in config.values.expect)


def _task(
    target: str, settings: CheckSettings, options: Mapping[str, Any], config: Config, entry: TargetSettings | None
) -> Task:
    from nnlint.worker import Limits, Task

    # A training script (`nnlint run`) has no limits.
    allowed = limits(options, config, entry) if "timeout" in options else Limits()
    return Task(target, settings, allowed.timeout, allowed.memory)


def _place(targets: tuple[str, ...], options: Mapping[str, Any], config: Config) -> dict[str, object]:
    """Targets of the configuration start from its folder, whatever the working directory is; paths typed here do not."""
    if targets or config.folder is None:
        return {}
    place: dict[str, object] = {"directory": config.folder}
    if options.get("weights") is not None:
        place["weights"] = str(Path.cwd() / Path(options["weights"]).expanduser())
    return place


def checked_report(run: Run, options: Mapping[str, Any]) -> Report:
    """Check the targets that are not answered from the cache, and take out what the user has accepted.

    Raises:
        Refusal: settings and rules do not go together.
    """
    checked = answered(run, options)
    return accepted(checked.results, run, torch=checked.torch)


def answered(run: Run, options: Mapping[str, Any], *, record: bool = False) -> Checked:
    """The answers for all targets, from the cache where they have not changed; `record` what the others use in any case.

    Raises:
        Refusal: settings and rules do not go together.
    """
    from nnlint import worker
    from nnlint.cli.cached import keep, known, store_of
    from nnlint.cli.progress import progress_bar

    if options["in_process"]:
        run.judge()
        return worker.check_tasks_here(run.tasks)
    store = store_of(run.config, use=not options["no_cache"])
    answers = dict(known(run.tasks, store))
    left = [task for task in run.tasks if task.target not in answers]
    if left:
        run.judge()
        with progress_bar(options["style"]) as on_step:
            jobs = limits(options, run.config).jobs
            fresh = worker.check_tasks(left, jobs=jobs, on_step=on_step, record=record or store is not None)
        keep(left, fresh, store)
        answers |= {answer.target: answer for answer in fresh.answers}
    return worker.Checked(tuple(answers[target] for target in run.targets))


def accepted(results: Sequence[TargetReport], run: Run, *, torch: str | None = None) -> Report:
    """The report without what the user has accepted: suppressions and the baseline."""
    from nnlint import suppress
    from nnlint._version import __version__
    from nnlint.report import Report

    suppressed = suppress.apply(results, run.config.suppressions)
    for warning in suppressed.warnings:
        warn(warning)
    kept = list(_without_known(suppressed.results, run))
    version = str(getattr(sys.modules.get("torch"), "__version__", "")) if torch is None else torch
    return Report(nnlint=__version__, torch=version, seed=run.settings.seed, results=kept).summarized()


def configured_baseline(config: Config) -> Path | None:
    """The baseline file of the configuration, which starts from the configuration's folder."""
    named = config.values.baseline
    return None if named is None else (config.folder or Path()) / Path(named).expanduser()


def _without_known(results: tuple[TargetReport, ...], run: Run) -> tuple[TargetReport, ...]:
    """The results without the findings of the baseline, where there is one; entries that are gone are told."""
    from nnlint import baseline

    if run.baseline is None:
        return results
    compared = baseline.apply(results, run.baseline)
    if compared.stale:
        listed = "; ".join(entry.place for entry in compared.stale)
        warn(f"the baseline lists findings that are gone: {listed}. Run `nnlint baseline` to update it")
    return compared.results


def _baseline(file: Path) -> Baseline:
    """The baseline in a file; read before anything is measured.

    Raises:
        Refusal: the file is missing or is no baseline.
    """
    from nnlint import baseline

    try:
        return baseline.read(file)
    except baseline.BaselineError as error:
        raise Refusal(str(error)) from error


def limits(options: Mapping[str, Any], config: Config, entry: TargetSettings | None = None) -> Limits:
    """What the command line, or else the target's own entry, or else the configuration, allows one target.

    Raises:
        Refusal: this system cannot limit the memory of a process.
    """
    import importlib.util

    from nnlint.worker import Limits

    given = {
        name: options.get(name) or getattr(entry, name, None) or getattr(config.values, name)
        for name in ("timeout", "memory_limit", "jobs")
    }
    if given["memory_limit"] is not None and importlib.util.find_spec("resource") is None:
        raise Refusal("--memory-limit: this system cannot limit the memory of a process")
    return Limits(timeout=given["timeout"], memory=given["memory_limit"], jobs=given["jobs"])


def report_options(
    run: Run, options: Mapping[str, Any], files: Sequence[Destination] = (), root: Path | None = None
) -> ReportOptions:
    """How the report is rendered on this terminal and in files; only SARIF describes the rules.

    Args:
        run: what was checked.
        options: of the command line.
        files: what is written besides.
        root: the folder that paths are shown from; the working directory by default.
    """
    import shutil

    from nnlint.cli.output import wants_color
    from nnlint.reporters.options import ReportOptions

    return ReportOptions(
        width=min(shutil.get_terminal_size((120, 40)).columns, 140),
        color=wants_color(options["color"]),
        show=frozenset(options["show"]),
        root=root or Path.cwd(),
        rules=run.registry.rules if "sarif" in (options["style"], *(file.style for file in files)) else (),
    )


def why(report: Report, run: Run) -> str:
    """The reason of an exit status other than 0."""
    failed = [result.target for result in report.results if result.status == "failed"]
    if failed:
        return f"{', '.join(failed)} could not be checked completely"
    broken = dict.fromkeys(finding.code for finding in report.findings if finding.code.startswith("RUN"))
    if broken:
        return f"the check itself has findings ({', '.join(broken)})"
    number = len(run.failing(report))
    levels = {run.fail_on(result) for result in report.results} - {None}
    named = " or, where the configuration says so, ".join(sorted(level.value for level in levels if level is not None))
    return f"{number} finding{'s' if number > 1 else ''} of level {named} or above (--fail-on)"


def warn(text: str) -> None:
    """Say something on standard error that changes no result."""
    click.echo(f"nnlint: warning: {text}", err=True)
