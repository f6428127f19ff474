"""`nnlint config`: the settings in force, and where each comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from nnlint.cli.errors import Refusal

#: Columns of a value; `--format json` shows all of it.
_WIDEST = 60


@click.command()
@click.option(
    "--config", "file", type=click.Path(path_type=Path), metavar="FILE", help="Default: the nearest pyproject.toml."
)
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", help="Default: text.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of [tool.nnlint], for editors.")
def config(file: Path | None, style: str, schema: bool) -> None:  # noqa: FBT001 - click passes the flag
    """Show every setting of [tool.nnlint]: its value and where it comes from."""
    from nnlint.config import ConfigError, FileSettings, load

    if schema:
        click.echo(json.dumps(FileSettings.model_json_schema(by_alias=True), indent=2))
        return
    try:
        found = load(file)
    except ConfigError as error:
        raise Refusal(str(error)) from error
    rows = [
        {
            "key": name.replace("_", "-"),
            "value": _plain(getattr(found.values, name)),
            "from": str(found.file) if name in found.values.model_fields_set else "default",
            "meaning": field.description or "",
        }
        for name, field in FileSettings.model_fields.items()
    ]
    if style == "json":
        click.echo(
            json.dumps(
                {"file": str(found.file) if found.file else None, "settings": rows}, indent=2, ensure_ascii=False
            )
        )
        return
    from tabulate import tabulate

    click.echo(f"configuration: {found.file or 'none found; all defaults'}")
    shown = [[row["key"], _shortened(json.dumps(row["value"], ensure_ascii=False)), row["from"]] for row in rows]
    click.echo(tabulate(shown, ["key", "value", "from"], tablefmt="plain", disable_numparse=True))


def _shortened(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 4]} ..."


def _plain(value: Any) -> Any:
    """The value as TOML would show it."""
    from nnlint.reporters.json import plain

    if isinstance(value, tuple) and all(hasattr(item, "model_dump") for item in value):
        return [plain(item.model_dump()) for item in value]
    return plain(value)
