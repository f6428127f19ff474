"""The entries of `.nnlint_cache/`: one file for each target and way to check it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from nnlint.cache import places, surroundings
from nnlint.cache.closure import Closure, obstacle
from nnlint.cache.recording import Used
from nnlint.config import CheckSettings
from nnlint.report import TargetReport

#: Of the files; another number makes every older entry unknown.
_VERSION = 1
_IGNORED = "# Made by nnlint; safe to delete.\n*\n"
#: Entries that were not used for the longest are deleted beyond this number.
_MOST_ENTRIES = 200


@dataclass(frozen=True)
class Entry:
    """What was found the last time, and what it hangs on."""

    reports: tuple[TargetReport, ...]
    torch: str
    closure: Closure


@dataclass(frozen=True)
class Store:
    """A folder of entries.

    Attributes:
        folder: `.nnlint_cache`, which is made when the first entry is written.
        engine: name of the module that checks.
    """

    folder: Path
    engine: str
    _found: dict[str, Entry | None] = field(default_factory=dict, repr=False)

    @cached_property
    def _surroundings(self) -> str:
        return f"{_VERSION} {self.engine} {os.getcwd()} {surroundings.fingerprint()}"  # noqa: PTH109

    def entry(self, target: str, settings: CheckSettings) -> Entry | None:
        """What is known of a target that is checked in this way, whether it is still so or not."""
        file = self._file(target, settings)
        if file.name not in self._found:
            self._found[file.name] = _read(file, target)
        return self._found[file.name]

    def current(self, target: str, settings: CheckSettings) -> Entry | None:
        """What is known and still so."""
        found = self.entry(target, settings)
        if found is None or next(found.closure.changes(), None) is not None:
            return None
        with contextlib.suppress(OSError):
            os.utime(self._file(target, settings))
        return found

    def keep(self, target: str, settings: CheckSettings, reports: tuple[TargetReport, ...], torch: str, used: Used) -> str | None:
        """Write an entry; gives why nothing was written.

        Nothing is kept of a target that could not be checked completely: a failure may be of this moment alone.
        """
        if not is_complete(reports):
            return "it could not be checked completely"
        reason = obstacle(used)
        if reason is not None:
            return reason
        content = {
            "target": target,
            "torch": torch,
            "closure": Closure.of(used).as_json(),
            "reports": [report.model_dump(mode="json") for report in reports],
        }
        # What changed while the files were hashed.
        reason = obstacle(used)
        if reason is None:
            try:
                self._write(self._file(target, settings), json.dumps(content, ensure_ascii=False))
            except (OSError, ValueError) as error:
                reason = f"{self.folder} cannot be written: {error}"
        return reason

    def _file(self, target: str, settings: CheckSettings) -> Path:
        key = places.digest(
            part.encode("utf-8", "surrogatepass") for part in (self._surroundings, target, settings.model_dump_json())
        )
        return self.folder / f"{key}.json"

    def _write(self, file: Path, text: str) -> None:
        self.folder.mkdir(exist_ok=True)
        ignored = self.folder / ".gitignore"
        if not ignored.exists():
            ignored.write_text(_IGNORED, encoding="utf-8")
        digest = places.digest([text.encode("utf-8", "surrogatepass")])
        scratch = file.with_suffix(f".{os.getpid()}.tmp")
        scratch.write_text(f"{digest}\n{text}", encoding="utf-8", errors="surrogatepass")
        scratch.replace(file)
        for old in self._oldest():
            old.unlink(missing_ok=True)

    def _oldest(self) -> Iterator[Path]:
        files = sorted(self.folder.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
        yield from files[_MOST_ENTRIES:]


def is_complete(reports: tuple[TargetReport, ...]) -> bool:
    """Whether the target was checked to its end."""
    return bool(reports) and not any(
        report.status == "failed" or any(finding.code.startswith("RUN") for finding in report.findings)
        for report in reports
    )


def _read(file: Path, target: str) -> Entry | None:
    """The entry in a file; None where there is none, or it is damaged."""
    try:
        digest, _, text = file.read_text(encoding="utf-8", errors="surrogatepass").partition("\n")
        if digest != places.digest([text.encode("utf-8", "surrogatepass")]):
            return None
        read: dict[str, Any] = json.loads(text)
        if read["target"] != target:
            return None
        reports = tuple(TargetReport.model_validate(report) for report in read["reports"])
        return Entry(reports, str(read["torch"]), Closure.of_json(read["closure"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
