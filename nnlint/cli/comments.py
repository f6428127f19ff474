"""Comments `# nnlint: disable=...` that accept nothing any more, in the files that the checked targets imported."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnlint.suppress import Comment, comments_in

if TYPE_CHECKING:
    from nnlint.cli.checking import Run
    from nnlint.report import TargetReport
    from nnlint.rule import Rule
    from nnlint.worker import Answer, Checked

_MARK = b"nnlint:"


@dataclass(frozen=True)
class _Seen:
    """What one target says of the rules."""

    reports: tuple[TargetReport, ...]
    evaluated: frozenset[str]

    def accepts(self, file: str, comment: Comment) -> bool:
        """Whether a finding stands at the comment, or may: a symptom has no line."""
        for finding in (finding for report in self.reports for finding in report.findings):
            place = finding.location
            here = place is not None and place.line == comment.line and os.path.abspath(place.file) == file  # noqa: PTH100
            if here and comment.names(finding.code, finding.name):
                return True
            if any(comment.names(symptom.code, symptom.name) for symptom in finding.symptoms):
                return True
        return False


def unused_comments(run: Run, checked: Checked) -> Iterator[str]:
    """What to say of comments that no finding needs, where every rule that they name was evaluated.

    Only files are read that every target which imported them told of; a target that could not be checked says nothing.
    """
    importers: dict[str, list[Answer]] = {}
    for answer in checked.answers:
        for file in _sources(answer):
            importers.setdefault(file, []).append(answer)
    seen: dict[str, _Seen] = {}
    for file, answers in sorted(importers.items()):
        for comment in _comments(file):
            for answer in answers:
                seen.setdefault(answer.target, _seen(run, answer))
            told = [seen[answer.target] for answer in answers]
            rules = [rule for rule in run.registry.rules if comment.names(rule.code, rule.name)]
            if _is_unused(file, comment, told, rules):
                place = os.path.relpath(file)
                yield f"unused suppression: # nnlint: disable={','.join(comment.selectors)} at {place}:{comment.line}"


def _is_unused(file: str, comment: Comment, told: list[_Seen], rules: list[Rule]) -> bool:
    if not rules or any(seen.accepts(file, comment) for seen in told):
        return False
    return all(rule.code in seen.evaluated for rule in rules for seen in told)


def _seen(run: Run, answer: Answer) -> _Seen:
    """What an answer says: the rules that were selected and not skipped."""
    from nnlint.selection import selected_rules

    settings = next(task.settings for task in run.tasks if task.target == answer.target)
    chosen = selected_rules(run.registry, settings)
    skipped = {skip.code for report in answer.reports for skip in report.skipped}
    failed = any(report.status == "failed" for report in answer.reports)
    return _Seen(answer.reports, frozenset() if failed else frozenset(rule.code for rule in chosen) - skipped)


def _sources(answer: Answer) -> Iterator[str]:
    """The sources that a target imported, without those of installed packages."""
    from nnlint.cache.places import is_installed

    known = answer.closure.files if answer.closure is not None else answer.used.files if answer.used is not None else ()
    yield from (file for file in known if file.endswith(".py") and not is_installed(file))


def _comments(file: str) -> list[Comment]:
    try:
        content = Path(file).read_bytes()
        return list(comments_in(content.decode("utf-8"))) if _MARK in content else []
    except (OSError, ValueError, SyntaxError):
        return []
