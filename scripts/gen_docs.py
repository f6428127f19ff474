"""Write docs/reference/rules/ (a page for each rule, and the index) and the pack's rules_index.json; `--check` only compares."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import sys
from collections.abc import Iterator
from enum import Enum
from itertools import groupby
from pathlib import Path

from nnlint import cards, registry
from nnlint.options import Options
from nnlint.rule import Rule

ROOT = Path(__file__).resolve().parent.parent
PACK = ROOT / "rules" / "nnlint_rules"
NOTE = "<!-- Written by scripts/gen_docs.py from the rule's own file; edit that one and run `make docs`. -->"


def pages(rules: tuple[Rule, ...]) -> dict[str, str]:
    """Text of every page by its file name."""
    alarms = false_alarms((ROOT / "docs" / "evidence" / "false-alarms.md").read_text(encoding="utf-8"))
    made = {f"{rule.name}.md": page(rule, alarms.get(rule.code, "")) for rule in rules}
    return {**made, "index.md": index(rules, alarms)}


def false_alarms(swept: str) -> dict[str, str]:
    """"2 of 303" by code: on how many of the models of docs/evidence/false-alarms.md each rule fires at warning or above."""
    found = {}
    for line in swept.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == len(("code", "name", "error", "warning", "info", "evaluated")) and cells[-1].isdecimal():
            errors, warnings, evaluated = (int(cells[column] or 0) for column in (2, 3, 5))
            found[cells[0]] = f"{errors + warnings} of {evaluated}" if evaluated else ""
    return found


def page(rule: Rule, alarms: str = "") -> str:
    """The documentation page of one rule; `alarms` is on how many healthy models it fires, as in "2 of 303"."""
    parts = [
        NOTE,
        f"# {rule.code} {rule.name}",
        f"**{rule.summary}**",
        f"Level: {rule.level.value}. Needs: {', '.join(rule.needs)}. Since {rule.since}.",
    ]
    parts.append(
        f"Healthy public models on which it is a warning or an error: {alarms} ([false alarms](../../evidence/false-alarms.md))."
        if alarms
        else "No model of [the sweep](../../evidence/false-alarms.md) has given it anything to judge."
    )
    if rule.explains:
        parts.append(f"Findings of {', '.join(rule.explains)} at the same place are shown as symptoms of this one.")
    parts.append(body(rule.doc))
    if rule.options is not None:
        parts.append(options_table(rule.code, rule.options))
    return "\n\n".join(parts) + "\n"


def body(doc: str) -> str:
    """The docstring after its first line, with a blank line around each heading and before each indented block."""
    lines: list[str] = []
    for line in doc.splitlines()[1:]:
        code, before_code = line.startswith("    "), bool(lines) and lines[-1].startswith("    ")
        if lines and lines[-1] and (line.startswith("## ") or lines[-1].startswith("## ") or code != before_code):
            lines += [""] if line else []
        lines.append(line.rstrip())
    return "\n".join(lines).strip()


def options_table(code: str, options: type[Options]) -> str:
    """The rule's thresholds with defaults and meanings."""
    fields, meanings = options.model_fields, options.meanings()
    rows = [f"| `{name}` | `{_shown(field.default)}` | {_cell(meanings[name])} |" for name, field in fields.items()]
    head = f"## Options\n\nSet under `[tool.nnlint.rules.{code}]` in pyproject.toml.\n\n| option | default | meaning |"
    return "\n".join([head, "|---|---|---|", *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _shown(value: object) -> str:
    if isinstance(value, Enum):
        return json.dumps(value.value)
    return json.dumps(list(value) if isinstance(value, tuple | frozenset | set) else value)


def index(rules: tuple[Rule, ...], alarms: dict[str, str]) -> str:
    """The list of all rules by family; `alarms` by code as `false_alarms` gives them."""
    measured = (
        "*Fires* says on how many healthy public models a rule is a warning or an error: "
        "[false alarms](../../evidence/false-alarms.md)."
    )
    parts = [NOTE, "# Rules", f"{len(rules)} rules. `nnlint explain CODE` shows a page at the terminal. {measured}"]
    for _, family in groupby(sorted(rules, key=_package), key=_package):
        members = list(family)
        title = inspect.getdoc(importlib.import_module(_package(members[0]))) or members[0].family
        rows = [
            f"| [{rule.code}]({rule.name}.md) | [{rule.name}]({rule.name}.md) | {rule.level.value} "
            f"| {', '.join(rule.needs)} | {alarms.get(rule.code) or 'not judged'} | {_cell(rule.summary)} |"
            for rule in members
        ]
        head = ["| code | name | level | needs | fires | |", "|---|---|---|---|---|---|"]
        parts += [f"## {title.splitlines()[0].rstrip('.')}", "\n".join(head + rows)]
    return "\n\n".join(parts) + "\n"


def _package(rule: Rule) -> str:
    return rule.check.__module__.rpartition(".")[0]


def stale(folder: Path, wanted: dict[str, str]) -> Iterator[str]:
    """Names of the pages in `folder` that are missing, differ from `wanted`, or belong to no rule."""
    for name, text in wanted.items():
        file = folder / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            yield name
    yield from (file.name for file in sorted(folder.glob("*.md")) if file.name not in wanted)


def write(folder: Path, wanted: dict[str, str]) -> None:
    """Make `folder` hold exactly the wanted pages."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in list(stale(folder, wanted)):
        if name in wanted:
            (folder / name).write_text(wanted[name], encoding="utf-8")
        else:
            (folder / name).unlink()


def main(argv: list[str] | None = None) -> int:
    """Write the pages, or with `--check` exit 1 when they are stale."""
    parser = argparse.ArgumentParser(description="Write docs/reference/rules/ from the registry.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is stale")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "reference" / "rules")
    arguments = parser.parse_args(argv)
    rules = registry.load().rules
    wanted, index_file = pages(rules), PACK / cards.INDEX
    index_page = cards.index_text(PACK, rules)
    if not arguments.check:
        write(arguments.out, wanted)
        index_file.write_text(index_page, encoding="utf-8")
        return 0
    files = [arguments.out / name for name in stale(arguments.out, wanted)]
    if not index_file.is_file() or index_file.read_text(encoding="utf-8") != index_page:
        files.append(index_file)
    for file in files:
        print(f"{file} is stale: run `make docs`", file=sys.stderr)
    return 1 if files else 0


if __name__ == "__main__":
    raise SystemExit(main())
