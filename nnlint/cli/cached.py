"""Answers from `.nnlint_cache/` for the targets of a check that have not changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from nnlint.cache.store import Store
    from nnlint.config import Config
    from nnlint.worker import Answer, Checked, Task


def store_of(config: Config, *, use: bool) -> Store | None:
    """The cache beside the configuration, else in the working directory; None where it is not wanted."""
    if not use or not config.values.cache:
        return None
    from nnlint.cache.places import FOLDER
    from nnlint.cache.store import Store
    from nnlint.worker import job

    return Store((config.folder or Path.cwd()) / FOLDER, job.ENGINE)


def known(tasks: Sequence[Task], found: Store | None) -> Mapping[str, Answer]:
    """The answers for the targets that have not changed; standard error says which they are."""
    if found is None:
        return {}
    from nnlint.worker import Answer

    answers = {}
    for task in tasks:
        entry = found.current(task.target, task.settings)
        if entry is not None:
            answers[task.target] = Answer(task.target, entry.reports, entry.torch, closure=entry.closure)
    if answers:
        named = ", ".join(answers)
        click.echo(f"nnlint: unchanged, answered from {found.folder.name}: {named}", err=True)
    return answers


def keep(tasks: Sequence[Task], checked: Checked, found: Store | None) -> None:
    """Keep what was found for the next time; standard error says what cannot be kept, and why."""
    if found is None:
        return
    from nnlint.cache.store import is_complete

    lost = []
    for task, answer in zip(tasks, checked.answers, strict=True):
        if answer.used is None:
            continue
        reason = found.keep(task.target, task.settings, answer.reports, answer.torch, answer.used)
        if reason is not None and is_complete(answer.reports):  # the report itself says that a check was incomplete
            lost.append(f"{task.target} ({reason})")
    if lost:
        click.echo(f"nnlint: not cached, so checked anew each time: {', '.join(lost)}", err=True)
