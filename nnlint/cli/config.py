"""`nnlint config`: the settings in force, and where each comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nnlint.cli import completion
from nnlint.cli.errors import Refusal

if TYPE_CHECKING:
    from nnlint.config import Config

#: Columns of a value; `--format json` shows all of it.
_WIDEST = 60


@click.command()
@click.argument("target", required=False, shell_complete=completion.targets)
@click.option(
    "--config", "file", type=click.Path(path_type=Path), metavar="FILE", help="Default: the nearest pyproject.toml."
)
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", help="Default: text.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of [tool.nnlint], for editors.")
def config(target: str | None, file: Path | None, style: str, schema: bool) -> None:  # noqa: FBT001 - click passes the flag
    """Show every setting of [tool.nnlint]: its value and where it comes from.

    With TARGET, the settings that this target is checked with, its own options included. Exit status 2 where a check would
    refuse them.
    """
    from nnlint.config import ConfigError, load
    from nnlint.config_keys import schema as made

    if schema:
        click.echo(json.dumps(made(), indent=2))
        return
    try:
        found = load(file)
        rows = list(_rows(found) if target is None else _rows_of(found, target))
    except ConfigError as error:
        raise Refusal(str(error)) from error
    if style == "json":
        content = {"file": str(found.file) if found.file else None, "target": target, "settings": rows}
        click.echo(json.dumps(content, indent=2, ensure_ascii=False))
        return
    from tabulate import tabulate

    click.echo(f"configuration: {found.file or 'none found; all defaults'}")
    if target is not None:
        click.echo(f"target: {target}")
    shown = [[row["key"], _shortened(json.dumps(row["value"], ensure_ascii=False)), row["from"]] for row in rows]
    click.echo(tabulate(shown, ["key", "value", "from"], tablefmt="plain", disable_numparse=True))
    _judge(found, target)


def _judge(found: Config, target: str | None) -> None:
    """Say of the settings what a check would refuse.

    Raises:
        Refusal: a rule or an option of a rule is unknown.
    """
    from nnlint.cli.catalogue import load_rules, validate

    entry = found.own(target, Path.cwd()) if target is not None else None
    settings = found.settings({}, target=entry)
    if settings.select or settings.extend_select or settings.rules:  # loading the rules takes time
        validate(settings, load_rules())


def _rows(found: Config) -> Iterator[dict[str, Any]]:
    """Every key of the file, and below `targets` what single targets have of their own."""
    from nnlint.config import FileSettings

    for name, field in FileSettings.model_fields.items():
        origin = str(found.file) if name in found.values.model_fields_set else "default"
        value = list(found.targets) if name == "targets" else _plain(getattr(found.values, name))
        yield _row(name, value, origin, field.description)
        for number, entry in enumerate(found.values.targets if name == "targets" else ()):
            for key, own in entry.own.items():
                described = type(entry).model_fields[key].description
                yield _row(f"targets.{number}.{key}", _plain(own), f"{found.file}, {entry.target}", described)


def _rows_of(found: Config, target: str) -> Iterator[dict[str, Any]]:
    """What a check of one target goes by."""
    from nnlint.config import ADDED, CheckSettings, TargetSettings

    entry = found.own(target, Path.cwd())
    settings, own = found.settings({}, target=entry), entry.own if entry is not None else {}
    written = found.values.model_fields_set
    for name, field in TargetSettings.model_fields.items():
        if name == "target":
            continue
        in_file = f"{found.file}" if name in written else ""
        in_entry = f"{found.file}, {target}" if name in own else ""
        adds_up = name in (*ADDED, "rules") and in_file and in_entry
        origin = f"{in_file} and {target}" if adds_up else in_entry or in_file or "default"
        if name in CheckSettings.model_fields:
            value = getattr(settings, name)
            value = settings.default_input if name == "input" and not value else value
        else:
            value = own.get(name, getattr(found.values, name))
        yield _row(name, _plain(value), origin, field.description)


def _row(name: str, value: object, origin: str, meaning: str | None) -> dict[str, Any]:
    return {"key": name.replace("_", "-"), "value": value, "from": origin, "meaning": meaning or ""}


def _shortened(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 4]} ..."


def _plain(value: Any) -> Any:
    """The value as TOML would show it."""
    from nnlint.reporters.json import plain

    if isinstance(value, tuple) and all(hasattr(item, "model_dump") for item in value):
        return [plain(item.model_dump()) for item in value]
    return plain(value)
