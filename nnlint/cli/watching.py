"""`nnlint check --watch`: check again on save, and only the targets whose closure changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nnlint.cli.errors import Refusal

if TYPE_CHECKING:
    from nnlint.cache.closure import Closure
    from nnlint.cli.checking import Run
    from nnlint.worker import Answer

#: Files that a target may hang on although its check never came to say so.
_SOURCES = (".py", ".toml")
_DEBOUNCE = 300  # milliseconds to wait for more files of one save
_SETTLED = 500  # milliseconds after which a watch has surely begun


def require_watchfiles() -> None:
    """Refuse before the first check, not after it.

    Raises:
        Refusal: the extra is not installed.
    """
    if find_spec("watchfiles") is None:
        raise Refusal("--watch needs watchfiles: pip install 'nnlint[watch]'")


@dataclass
class Watch:
    """What each target hangs on, as of its last check.

    Attributes:
        run: the check of all targets.
        closures: by target; None where the check never came to say.
    """

    run: Run
    closures: dict[str, Closure | None] = field(default_factory=dict)

    def note(self, answers: Iterable[Answer]) -> None:
        """Take note of what was checked."""
        from nnlint.cache.closure import Closure

        for answer in answers:
            self.closures[answer.target] = answer.closure or (Closure.of(answer.used) if answer.used is not None else None)

    def stale(self, files: Iterable[str]) -> Run | None:
        """The targets to check again now that these files were saved; None where there is none."""
        sources = any(file.endswith(_SOURCES) for file in files)
        tasks = tuple(task for task in self.run.tasks if self._is_stale(task.target, sources=sources))
        return replace(self.run, tasks=tasks) if tasks else None

    def _is_stale(self, target: str, *, sources: bool) -> bool:
        closure = self.closures.get(target)
        return sources if closure is None else next(closure.changes(), None) is not None

    def folders(self) -> list[Path]:
        """Where to watch: the folder of the configuration, and those of files elsewhere that are no installed package's."""
        from nnlint.cache.places import IS_FOLDER, is_installed

        root = (self.run.config.folder or Path.cwd()).resolve()
        known = [closure for closure in self.closures.values() if closure is not None]
        files = {file for closure in known for file, content in closure.files.items() if content not in (None, IS_FOLDER)}
        others = {Path(file).parent for file in files if not is_installed(file)}
        return [root, *(folder for folder in sorted(others) if root not in (folder, *folder.parents))]


def changes(watch: Watch) -> Iterator[set[str]]:
    """The files that are saved, until Ctrl-C; the folders are those of the last check."""
    import watchfiles

    while True:
        folders, settled = watch.folders(), False
        for found in watchfiles.watch(
            *folders, raise_interrupt=True, debounce=_DEBOUNCE, rust_timeout=_SETTLED, yield_on_timeout=True
        ):
            if found or not settled:  # the first time, what was saved before the watch had begun
                yield {path for _, path in found}
            settled = True
            if watch.folders() != folders:
                break


def check_on_save(watch: Watch, check: Callable[[Run], Iterable[Answer]], reload: Callable[[], Run]) -> None:
    """Check again whenever something is saved that a target hangs on, until Ctrl-C.

    Args:
        watch: what was checked.
        check: checks a run and reports.
        reload: reads the configuration again.
    """
    click.echo("nnlint: watching; Ctrl-C ends", err=True)
    for files in changes(watch):
        configuration = watch.run.config.file
        if configuration is not None and str(configuration.resolve()) in files:
            try:
                watch.run = reload()
            except (Refusal, click.UsageError) as error:
                click.echo(f"nnlint: {error.format_message()}", err=True)
                continue
            watch.note(check(watch.run))
        elif (stale := watch.stale(files)) is not None:
            click.echo(f"nnlint: changed: {', '.join(stale.targets)}", err=True)
            watch.note(check(stale))
        else:
            continue
        click.echo("nnlint: watching; Ctrl-C ends", err=True)
