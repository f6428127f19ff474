"""Write the JSON Schemas of the report and of the configuration, and the page of its keys, from the pydantic models.

`--check` compares and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from nnlint import config_keys
from nnlint.report import SCHEMA_VERSION, Report

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"


def schema() -> str:
    """The JSON Schema of `nnlint check --format json`."""
    described = Report.model_json_schema(mode="serialization")
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"nnlint report {SCHEMA_VERSION}",
    }
    return json.dumps({**head, **{key: value for key, value in described.items() if key != "title"}}, indent=2) + "\n"


def files() -> Mapping[str, str]:
    """The generated files by name."""
    return {
        "report.schema.json": schema(),
        "configuration.schema.json": json.dumps(config_keys.schema(), indent=2) + "\n",
        "configuration-keys.md": config_keys.page(),
    }


def main() -> int:
    """0 when the files are fresh or were written, 1 when `--check` finds one stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    only_compare = parser.parse_args().check
    stale = 0
    for name, fresh in files().items():
        file = FOLDER / name
        if only_compare and not (file.is_file() and file.read_text(encoding="utf-8") == fresh):
            print(f"{name} is stale: run scripts/gen_schema.py")
            stale = 1
        elif not only_compare:
            file.write_text(fresh, encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main())
