"""`nnlint diff`: what is new, fixed and unchanged between two reports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nnlint.cli.errors import Refusal

if TYPE_CHECKING:
    from nnlint.differences import Differences, Located
    from nnlint.finding import Level
    from nnlint.report import Report

_SHOWN_MOVES = 20


@click.command()
@click.argument("old", type=click.Path(path_type=Path), metavar="OLD.json")
@click.argument("new", type=click.Path(path_type=Path), metavar="NEW.json")
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", help="Default: text.")
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "info", "never"]),
    default="error",
    help="Exit with status 1 for new findings from this level on. Default: error.",
)
@click.pass_context
def diff(context: click.Context, /, old: Path, new: Path, style: str, fail_on: str) -> None:
    """Compare two reports that `nnlint check --format json` wrote.

    Exit status: 0 no new finding at or above --fail-on; 1 new findings; 2 a report cannot be read, or the new check was incomplete.
    """
    from nnlint.differences import compare
    from nnlint.finding import Level

    reports = [_read(old), _read(new)]
    found = compare(*reports)
    click.echo(_json(found) if style == "json" else "\n".join(_text(found)))
    context.exit(_status(found, reports[1], None if fail_on == "never" else Level(fail_on)))


def _status(found: Differences, report: Report, fail_on: Level | None) -> int:
    if report.exit_status(None):
        return 2
    return int(fail_on is not None and any(item.finding.level.at_least(fail_on) for item in found.new))


def _read(file: Path) -> Report:
    from pydantic import ValidationError

    from nnlint.report import Report

    try:
        return Report.model_validate_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refusal(f"{file}: {error.strerror}; `nnlint check --output json:{file}` writes a report") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise Refusal(f"{file} is not a report; `nnlint check --output json:FILE` writes one") from error


def _text(found: Differences) -> Iterator[str]:
    for title, items in (
        ("new", found.new),
        ("fixed", found.fixed),
        ("unchanged", found.unchanged),
        ("not evaluated", found.unknown),
    ):
        if items:
            yield f"{title}:"
            yield from (f"  {_line(item)}" for item in items)
    if found.moved:
        yield f"measurements that changed by more than a tenth: {len(found.moved)}"
        for moved in found.moved[:_SHOWN_MOVES]:
            yield f"  {moved.target}  {moved.name}: {_number(moved.before)} -> {_number(moved.after)}"
        if len(found.moved) > _SHOWN_MOVES:
            yield f"  ... and {len(found.moved) - _SHOWN_MOVES} more (--format json lists all)"
    yield f"{len(found.new)} new, {len(found.fixed)} fixed, {len(found.unchanged)} unchanged"


def _line(item: Located) -> str:
    finding = item.finding
    place = f"{finding.location.file}:{finding.location.line}" if finding.location is not None else finding.module
    return f"{finding.level.value} {finding.code} {finding.name}  {item.target}  {place}".rstrip()


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"


def _json(found: Differences) -> str:
    from nnlint.reporters.json import plain

    def listed(items: tuple[Located, ...]) -> list[object]:
        return [{"target": item.target, **plain(item.finding.model_dump())} for item in items]

    content = {
        "new": listed(found.new),
        "fixed": listed(found.fixed),
        "unchanged": listed(found.unchanged),
        "not_evaluated": listed(found.unknown),
        "moved": [plain(vars(moved)) for moved in found.moved],
    }
    return json.dumps(content, indent=2, ensure_ascii=False)
