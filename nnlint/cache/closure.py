"""What a target's result hangs on, as it was when the target was checked: compared with what is there now."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnlint.cache import places
from nnlint.cache.recording import VOLATILE, Used

#: More files than these take longer to compare than a check may take from the cache.
MOST_FILES = 20_000
@dataclass(frozen=True)
class Closure:
    """What a result hangs on.

    Attributes:
        files: what identifies the content of each file; None for one that was looked for and not there.
        folders: what identifies the names in each folder that was listed.
        names: for each folder that modules were looked for in: what was found there under which names.
        variables: what identifies the value of each variable that was asked for; None where it was not set.
    """

    files: Mapping[str, str | None]
    folders: Mapping[str, str]
    names: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
    variables: Mapping[str, str | None]

    @classmethod
    def of(cls, used: Used) -> Closure:
        """The closure of what a target used, as it is now."""
        return cls(
            files={file: places.content(file) for file in sorted(used.files)},
            folders={folder: _listing(folder) for folder in sorted(used.folders)},
            names={
                folder: (tuple(names), tuple(places.importable(folder, names))) for folder, names in sorted(used.names.items())
            },
            variables={name: variable(name) for name in sorted(used.variables)},
        )

    @classmethod
    def of_json(cls, read: Mapping[str, Any]) -> Closure:
        """What `as_json` made.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it was something else.
        """
        names = {folder: (tuple(wanted), tuple(found)) for folder, (wanted, found) in read["names"].items()}
        return cls(dict(read["files"]), dict(read["folders"]), names, dict(read["variables"]))

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON carries it."""
        return {"files": self.files, "folders": self.folders, "names": self.names, "variables": self.variables}

    def changes(self) -> Iterator[str]:
        """What is no longer as it was, in words."""
        for name, value in self.variables.items():
            if variable(name) != value:
                yield "the environment" if name == "*" else f"the environment variable {name}"
        for folder, (wanted, found) in self.names.items():
            if tuple(places.importable(folder, wanted)) != found:
                yield f"modules in {folder}"
        for folder, listing in self.folders.items():
            if _listing(folder) != listing:
                yield folder
        for file, known in self.files.items():
            if places.content(file) != known:
                yield file

    def holds(self, file: str) -> bool:
        """Whether a file is part of it, or lies in a folder that was listed."""
        return file in self.files or str(Path(file).parent) in self.folders


def obstacle(used: Used) -> str | None:
    """Why a result must not be kept, or None."""
    if used.obstacles:
        return min(used.obstacles)
    if len(used.files) > MOST_FILES:
        return f"it reads more than {MOST_FILES} files"
    changed = next((file for file in sorted(used.files) if places.changed_since(file, used.since)), None)
    return f"{changed} changed during the check" if changed is not None else None


def variable(name: str) -> str | None:
    """What identifies the value of a variable, or with "*" of the whole environment; values may be secrets."""
    if name == "*":
        kept = sorted((key, value) for key, value in os.environ.items() if key not in VOLATILE)
        return places.digest(os.fsencode(f"{key}={value}") for key, value in kept)
    value = os.environ.get(name)
    return None if value is None else places.digest([os.fsencode(value)])


def _listing(folder: str) -> str:
    return places.digest(os.fsencode(name) for name in places.entries(folder))
