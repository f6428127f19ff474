"""What `[tool.nnlint]` knows, from its pydantic models: the JSON Schema for editors, and the table of keys in the documentation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from nnlint.config import FileSettings, TargetSettings
from nnlint.overrides import Override

#: The tables of the configuration, with the heading that the documentation gives them.
TABLES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("[tool.nnlint]", FileSettings),
    ("[[tool.nnlint.targets]]", TargetSettings),
    ("[[tool.nnlint.overrides]]", Override),
)
_FORMS = {"array": "list", "object": "table", "integer": "integer", "number": "number", "boolean": "true or false"}
#: Keys that take other forms than their model holds in the end.
_WRITTEN = {
    "timeout": ["number", "string"],
    "budget": ["number", "string"],
    "memory-limit": ["integer", "string"],
}

_INTRODUCTION = (
    "Keys are written in kebab-case or in snake_case. `nnlint config` shows their values and where each comes from; "
    "`nnlint config --schema` prints the [JSON Schema](configuration.schema.json) for editors."
)


def schema() -> dict[str, Any]:
    """The JSON Schema of `[tool.nnlint]`. Keys are in kebab-case; the same keys in snake_case are allowed as well."""
    made = FileSettings.model_json_schema()
    for table in (made, *made["$defs"].values()):
        if "properties" in table:
            table["properties"] = dict(_written(table["properties"]))
            table["required"] = [name.replace("_", "-") for name in table.get("required", ())]
    entries = made["properties"]["targets"]
    entries["items"] = {"anyOf": [{"type": "string"}, entries["items"]]}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "[tool.nnlint] of pyproject.toml"}
    return {**made, **head}


def _written(properties: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, described in properties.items():
        key, kept = name.replace("_", "-"), {part: value for part, value in described.items() if part != "title"}
        if key in _WRITTEN:
            kept = {part: kept[part] for part in ("default", "description") if part in kept} | {"type": _WRITTEN[key]}
        if key == "fail-on":
            kept = {"default": "error", "description": kept["description"], "enum": ["error", "warning", "info", "never"]}
        yield key, kept
        if key != name:
            yield name, kept


def page() -> str:
    """The documentation of every key, as Markdown."""
    parts = [
        "<!-- Written by scripts/gen_schema.py from nnlint/config.py; edit that one and run `make docs`. -->",
        "# Keys of the configuration",
        _INTRODUCTION,
    ]
    for heading, model in TABLES:
        rows = [f"| `{key}` | {form} | {default} | {meaning} |" for key, form, default, meaning in _rows(model)]
        parts += [f"## {heading}", "\n".join(["| key | value | default | meaning |", "|---|---|---|---|", *rows])]
    return "\n\n".join(parts) + "\n"


def _rows(model: type[BaseModel]) -> Iterator[tuple[str, str, str, str]]:
    shown = schema()
    table = shown if model is FileSettings else shown["$defs"][model.__name__]
    for name, field in model.model_fields.items():
        described = table["properties"][name.replace("_", "-")]
        unset = field.is_required() or described.get("default") is None
        default = "" if unset else f"`{_short(json.dumps(described['default']))}`"
        meaning = (field.description or "").replace("|", "\\|")
        yield name.replace("_", "-"), _form(described), default, meaning


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:56]} ..."


def _form(described: dict[str, Any]) -> str:
    if "enum" in described:
        return ", ".join(f"`{value}`" for value in described["enum"])
    types = described.get("type") or [part.get("type") for part in described.get("anyOf", ())]
    names = [_FORMS.get(name, name) for name in ([types] if isinstance(types, str) else types) if name != "null"]
    return " or ".join(names)
