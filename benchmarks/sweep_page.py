"""docs/evidence/false-alarms.md from the rows of a sweep."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from tabulate import tabulate

LEVELS = ("error", "warning", "info")

Row = dict[str, Any]

#: Why a finding on a healthy model stays, by "CODE model": looked at one by one.
_DEFENCES: dict[str, str] = json.loads((Path(__file__).parent / "defended.json").read_text(encoding="utf-8"))


def page(rows: list[Row], names: dict[str, str], settings: dict[str, Any], strict: list[Row] | None = None) -> str:
    """The whole page; `names` are the rules' names by code, `strict` the rows with leniency for libraries off."""
    from nnlint._version import __version__

    checked = [row for row in rows if "findings" in row]
    profile = next((name for name in ("static", "deep") if settings.get(name)), "default")
    clean = sum(not any(found["level"] != "info" for found in row["findings"]) for row in checked)
    libraries = Counter(row["model"].partition("/")[0] for row in checked)
    families = ", ".join(f"{count} {name}" for name, count in sorted(libraries.items()))
    summary = (
        f"nnlint {__version__}, {profile} profile, on {len(checked)} healthy public architectures with random weights "
        f"({families}): train mode, a batch of 8 samples of noise (2 where a sample, or what the layers make of it, is large), cross-entropy with random labels for image "
        "classifiers, the model's own loss for Hugging Face models that take labels, no loss elsewhere; SGD 0.01 with "
        "momentum 0.9 for nets with batch norm, AdamW 3e-4 for the rest. "
        f"**{clean} of {len(checked)} have no finding at warning or above.** Not every finding is wrong: noise is no "
        "data set, and a published net may well carry a redundant bias."
    )
    summary += _strict_summary(strict or [])
    parts = [
        "<!-- Written by benchmarks/sweep.py. -->",
        "# False alarms",
        summary,
        "## By rule",
        _by_rule(checked, names),
        "## Findings at warning or above",
        _loud(checked) or "None.",
        *_strict_section(rows, strict or []),
        "## Not checked to the end",
        _failures(rows) or "None.",
    ]
    return "\n\n".join(parts) + "\n"


def _strict_summary(strict: list[Row]) -> str:
    checked = [row for row in strict if "findings" in row]
    if not checked:
        return ""
    clean = sum(not any(found["level"] != "info" for found in row["findings"]) for row in checked)
    return (
        f" What a model library chose is judged more leniently than your own code. **With that off, as if you had written "
        f"the models yourself, {clean} of {len(checked)} have no finding at warning or above.**"
    )


def _strict_section(rows: list[Row], strict: list[Row]) -> list[str]:
    """What is louder where nothing is excused for being a library's."""
    if not strict:
        return []
    before = {
        (row["model"], found["code"], found["module"], found["level"])
        for row in rows
        for found in row.get("findings", [])
    }
    louder = [
        row
        | {"findings": [f for f in row["findings"] if (row["model"], f["code"], f["module"], f["level"]) not in before]}
        for row in strict
        if "findings" in row
    ]
    return ["## Louder as if you had written them", _loud(louder) or "None."]


def _by_rule(rows: list[Row], names: dict[str, str]) -> str:
    """On how many models each rule fires, and on how many it could be evaluated."""
    fired: Counter[tuple[str, str]] = Counter()
    for row in rows:
        fired.update({(found["code"], found["level"]) for found in row["findings"]})
    skipped = Counter(code for row in rows for code in row["skipped"])
    table = []
    for code, name in sorted(names.items()):
        counts = [fired[code, level] for level in LEVELS]
        evaluated = len(rows) - skipped[code]
        table.append([code, name, *(count or "" for count in counts), evaluated])
    return tabulate(table, ["code", "name", *LEVELS, "models evaluated"], tablefmt="github")


def _loud(rows: list[Row]) -> str:
    lines = [
        f"- {found['code']} {found['level']}, {row['model']}, `{found['module'] or '(model)'}`: {found['message']}. "
        f"*{_DEFENCES.get(found['code'] + ' ' + row['model'], 'Not defended.')}*"
        for row in rows
        for found in row["findings"]
        if found["level"] != "info" and not found["code"].startswith("RUN")
    ]
    return "\n".join(sorted(lines))


def _failures(rows: list[Row]) -> str:
    lines = [f"- {row['model']}: {row['status']}: {row['error']}" for row in rows if "error" in row]
    lines += [
        f"- {row['model']}: {found['code']}: {found['message']}"
        for row in rows
        for found in row.get("findings", [])
        if found["code"].startswith("RUN")
    ]
    return "\n".join(sorted(lines))
