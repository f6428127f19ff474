"""`nnlint check --changed`: only the targets that a change concerns, as pre-commit asks for it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nnlint.cli.errors import Refusal

if TYPE_CHECKING:
    from nnlint.cache.store import Entry, Store
    from nnlint.cli.checking import Run
    from nnlint.config import Config


def split(arguments: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The targets and the changed files among the arguments: a target has a colon and is no file."""
    targets = tuple(argument for argument in arguments if ":" in argument and not Path(argument).exists())
    return targets, tuple(argument for argument in arguments if argument not in targets)


def concerned(run: Run, files: Sequence[str], store: Store | None) -> Run:
    """The run without the targets that no changed file concerns; standard error says which they are.

    A target is left out only if its last check is known, nothing that it hangs on has changed since, and none of the changed
    files is among that. A change of the configuration or the baseline concerns every target.

    Args:
        run: the check of all targets.
        files: what changed, from the working directory; empty to ask git.
        store: the cache; None leaves nothing out.

    Raises:
        Refusal: git does not know what changed.
    """
    changed = {place for file in files or _of_git(run.config) for place in _places(file)}
    if store is None or changed & set(_of_everybody(run)):
        return run
    known = {task.target: store.current(task.target, task.settings) for task in run.tasks}
    left_out = {
        target: entry
        for target, entry in known.items()
        if entry is not None and not any(entry.closure.holds(file) for file in changed)
    }
    if left_out:
        named = ", ".join(f"{target} ({_result(entry)})" for target, entry in left_out.items())
        click.echo(f"nnlint: left out, no changed file concerns them: {named}", err=True)
    return replace(run, tasks=tuple(task for task in run.tasks if task.target not in left_out))


def _result(entry: Entry) -> str:
    """What the last check said."""
    from nnlint.finding import Level

    counts = {level: sum(report.count(level) for report in entry.reports) for level in (Level.ERROR, Level.WARNING)}
    told = [f"{number} {level.value}{'s' if number > 1 else ''}" for level, number in counts.items() if number]
    return f"{', '.join(told)} at its last check" if told else "clean at its last check"


def _of_everybody(run: Run) -> Iterator[str]:
    for file in (run.config.file, run.baseline_file):
        if file is not None:
            yield from _places(file)


def _places(file: str | Path) -> tuple[str, str]:
    """A file as it is named from the root, and where links lead."""
    return os.path.abspath(file), os.path.realpath(file)  # noqa: PTH100 - keeps the links, as the recording does


def _of_git(config: Config) -> list[str]:
    """The files that differ from the last commit, and new ones that git does not ignore.

    Raises:
        Refusal: this is no git repository, or git is not installed.
    """
    folder = config.folder or Path.cwd()
    try:
        root = _git(folder, "rev-parse", "--show-toplevel").strip("\n")
        has_commit = bool(_git(folder, "rev-list", "-n", "1", "--all"))
        listed = _git(folder, "diff", "--name-only", "-z", "HEAD", "--") if has_commit else _git(folder, "ls-files", "-z", "--full-name")
        fresh = _git(folder, "ls-files", "--others", "--exclude-standard", "-z", "--full-name", root)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Refusal("--changed: git does not say what changed here; name the changed files") from error
    return [str(Path(root) / name) for name in f"{listed}{fresh}".split("\0") if name]


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=True)  # noqa: S603, S607 - from PATH, as git's own hooks
    return os.fsdecode(done.stdout)
