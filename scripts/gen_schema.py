"""Write docs/reference/report.schema.json from the report's pydantic model. `--check` compares and writes nothing."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from nnlint.report import SCHEMA_VERSION, Report

FILE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "report.schema.json"


def schema() -> str:
    """The JSON Schema of `nnlint check --format json`."""
    described = Report.model_json_schema(mode="serialization")
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"nnlint report {SCHEMA_VERSION}",
    }
    return json.dumps({**head, **{key: value for key, value in described.items() if key != "title"}}, indent=2) + "\n"


def main() -> int:
    """0 when the file is fresh or was written, 1 when `--check` finds it stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    fresh = schema()
    if not parser.parse_args().check:
        FILE.write_text(fresh, encoding="utf-8")
        return 0
    if FILE.is_file() and FILE.read_text(encoding="utf-8") == fresh:
        return 0
    print(f"{FILE.name} is stale: run scripts/gen_schema.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
