"""Known findings of an old code base, in a file: a gate fails on what is new and says what is gone.

An entry is a fingerprint, which holds no line number and no measured value, so that moving code does not make a finding new.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nnlint.report import Report, ReportedFinding, TargetReport

FILE_NAME = "nnlint-baseline.json"


class BaselineError(Exception):
    """The baseline cannot be used; the message names the file and what to do."""


class Entry(BaseModel):
    """A known finding. Only target, fingerprint and count decide; the rest is for the reader of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str
    fingerprint: str
    code: str
    name: str = ""
    module: str = ""
    message: str = ""
    count: int = Field(default=1, ge=1)

    @property
    def place(self) -> str:
        """`LOS001 softmax-before-cross-entropy at head of mymodel:build`."""
        return f"{self.code} {self.name}{f' at {self.module}' if self.module else ''} of {self.target}"


class Baseline(BaseModel):
    """The content of a baseline file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    findings: tuple[Entry, ...] = ()

    def text(self) -> str:
        """The file's text: sorted, one finding after another, so that version control shows what changed."""
        return json.dumps(self.model_dump(), indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Compared:
    """Reports without the known findings.

    Attributes:
        results: the reports; an assumption says how many findings were left out.
        stale: entries whose finding is gone although its rule was evaluated.
    """

    results: tuple[TargetReport, ...]
    stale: tuple[Entry, ...]


def of_report(report: Report) -> Baseline:
    """The findings of a report as a baseline. What could not be checked (RUN codes) is never accepted."""
    found: dict[tuple[str, str], Entry] = {}
    for result in report.results:
        for finding in result.findings:
            if finding.code.startswith("RUN"):
                continue
            key = (result.target, finding.fingerprint)
            known = found.get(key)
            found[key] = known.model_copy(update={"count": known.count + 1}) if known else _entry(result, finding)
    return Baseline(findings=tuple(sorted(found.values(), key=lambda entry: (entry.target, entry.code, entry.module))))


def _entry(result: TargetReport, finding: ReportedFinding) -> Entry:
    return Entry(
        target=result.target,
        fingerprint=finding.fingerprint,
        code=finding.code,
        name=finding.name,
        module=finding.module,
        message=finding.message,
    )


def read(file: Path) -> Baseline:
    """Read a baseline file.

    Raises:
        BaselineError: it is missing or is not a baseline.
    """
    try:
        found = Baseline.model_validate_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        if file.is_dir():
            raise BaselineError(f"{file} is a folder: name a file in it") from error
        raise BaselineError(f"{file}: {error.strerror}; `nnlint baseline --file {file}` writes it") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise BaselineError(_foreign(file)) from error
    if "version" not in found.model_fields_set:  # another file that happens to be JSON
        raise BaselineError(_foreign(file))
    return found


def _foreign(file: Path) -> str:
    return f"{file} is not an nnlint baseline; delete it, and `nnlint baseline --file {file}` writes a new one"


def apply(results: Sequence[TargetReport], baseline: Baseline) -> Compared:
    """Take the known findings out of the reports, each as often as it was counted."""
    left = Counter({(entry.target, entry.fingerprint): entry.count for entry in baseline.findings})
    cleaned = []
    for result in results:
        kept = [finding for finding in result.findings if not _is_known(result.target, finding, left)]
        known = len(result.findings) - len(kept)
        said = f"{known} known finding{'s' if known > 1 else ''} from the baseline hidden"
        changes = {"findings": kept, "assumptions": [*result.assumptions, said]}
        cleaned.append(result.model_copy(update=changes) if known else result)
    stale = tuple(
        entry for entry in baseline.findings if left[entry.target, entry.fingerprint] and _is_gone(entry, results)
    )
    return Compared(tuple(cleaned), stale)


def _is_known(target: str, finding: ReportedFinding, left: Counter[tuple[str, str]]) -> bool:
    key = (target, finding.fingerprint)
    if finding.code.startswith("RUN") or not left[key]:
        return False
    left[key] -= 1
    return True


def _is_gone(entry: Entry, results: Iterable[TargetReport]) -> bool:
    """Whether the target was checked to its end and the entry's rule was evaluated there."""
    return any(
        result.target == entry.target
        and result.status == "ok"
        and entry.code not in {skipped.code for skipped in result.skipped}
        for result in results
    )
