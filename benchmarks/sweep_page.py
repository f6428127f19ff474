"""docs/evidence/false-alarms.md from the rows of a sweep."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from tabulate import tabulate

LEVELS = ("error", "warning", "info")
_JUDGED = ("judged", "models", "without a warning", "errors", "warnings", "warnings a model")

Row = dict[str, Any]

#: What a look at a finding on a healthy model gave, by "CODE model".
DEFENCES: dict[str, str] = json.loads((Path(__file__).parent / "defended.json").read_text(encoding="utf-8"))


def page(rows: list[Row], names: dict[str, str], settings: dict[str, Any], *, left: int = 0) -> str:
    """The whole page; `names` are the rules' names by code, `left` how many models the sweep did not reach."""
    from nnlint._version import __version__

    checked = [row for row in rows if "findings" in row]
    profile = next((name for name in ("static", "deep") if settings.get(name)), "default")
    libraries = Counter(row["model"].partition("/")[0] for row in checked)
    families = ", ".join(f"{count} {name}" for name, count in sorted(libraries.items()))
    commits = ", ".join(dict.fromkeys(row["commit"] for row in checked if row.get("commit")))
    summary = (
        f"nnlint {__version__}{f' (commit {commits})' if commits else ''}, {profile} profile, on {len(checked)} healthy public architectures "
        f"with random weights ({families}): train mode, a batch of 8 samples of noise (2 where a sample, or what the layers make of it, is "
        "large), cross-entropy with random labels for image classifiers, the model's own loss for Hugging Face models that take labels, no "
        "loss elsewhere; SGD 0.01 with momentum 0.9 for nets with batch norm, AdamW 3e-4 for the rest. Made by `python benchmarks/sweep.py`. "
        "Not every finding is wrong: noise is no data set, and a published net may well carry a redundant bias."
    )
    strict = [row | {"findings": row["as_written"]} for row in checked if "as_written" in row]
    figures = [("as a user of the libraries", *_figures(checked))]
    if strict:
        figures.append(("as if you had written the models", *_figures(strict)))
    if left:
        summary += (
            f" **The sweep was stopped: {left} models were not reached.** The libraries take turns, so that each has its share; "
            "`--resume` goes on with the rest."
        )
    parts = [
        "<!-- Written by benchmarks/sweep.py. -->",
        "# False alarms",
        summary,
        "What a model library chose is judged more leniently than your own code; the second row shows the same checks without that leniency.",
        tabulate(figures, _JUDGED, tablefmt="github", disable_numparse=True),
        "## By rule",
        _by_rule(checked, names),
        "## Findings at warning or above",
        _loud(checked) or "None.",
        *_strict_section(checked, strict),
        "## Not checked to the end",
        _failures(rows) or "None.",
    ]
    return "\n\n".join(parts) + "\n"


def _figures(rows: list[Row]) -> tuple[int, int, int, int, str]:
    """Models, those without a finding at warning or above, errors, warnings, warnings a model."""
    levels = Counter(found["level"] for row in rows for found in row["findings"] if not found["code"].startswith("RUN"))
    clean = sum(not any(found["level"] != "info" for found in row["findings"]) for row in rows)
    return len(rows), clean, levels["error"], levels["warning"], f"{levels['warning'] / max(len(rows), 1):.3f}"


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
        f"*{DEFENCES.get(found['code'] + ' ' + row['model'], 'Not defended.')}*"
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
