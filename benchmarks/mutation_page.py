"""docs/mutation.md from the rows of benchmarks/mutation.py."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

Row = dict[str, Any]
Rules = Mapping[str, tuple[str, str]]

_RANK = {"info": 0, "warning": 1, "error": 2}
TARGETS = {"error": 0.95, "warning": 0.85}


def is_detected(row: Row) -> bool:
    """Whether one of the rules that must report the fault did, at warning or above."""
    return any(item["code"] in row["codes"] and item["level"] != "info" for item in row["findings"])


def is_diagnosed(row: Row, rules: Rules) -> bool:
    """Whether it did so at the right place, and not below its own level."""
    return any(
        item["code"] in row["codes"]
        and _RANK[item["level"]] >= _RANK[rules[item["code"]][1]]
        and _is_at(item, row["places"])
        for item in row["findings"]
    )


def _is_at(item: Mapping[str, Any], places: list[str] | None) -> bool:
    if places is None:
        return True
    named = [item["module"], *item["modules"]]
    return any(_nested(one, other) for one in named for other in places)


def _nested(one: str, other: str) -> bool:
    return one == other or (bool(one and other) and (one.startswith(f"{other}.") or other.startswith(f"{one}.")))


def judged(rows: Iterable[Row]) -> list[Row]:
    """Rows of mutants that were checked."""
    return [row for row in rows if row["operator"] and "findings" in row]


def table(rows: list[Row], rules: Rules) -> list[tuple[str, list[Row]]]:
    """The mutants of each rule, gravest rules first."""
    by_code: dict[str, list[Row]] = defaultdict(list)
    for row in judged(rows):
        by_code[row["codes"][0]].append(row)
    return sorted(by_code.items(), key=lambda pair: (-_RANK[rules[pair[0]][1]], pair[0]))


def false_alarms(rows: list[Row]) -> dict[str, list[str]]:
    """Subjects whose unmutated twin has a finding at warning or above, by code."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if not row["operator"]:
            for code in dict.fromkeys(item["code"] for item in row.get("findings", ()) if item["level"] != "info"):
                found[code].append(row["subject"])
    return found


def shares(rows: list[Row], rules: Rules) -> dict[str, tuple[int, int, int]]:
    """Mutants, detected and diagnosed ones, by the level of the rule."""
    result = {}
    for level in TARGETS:
        own = [row for row in judged(rows) if rules[row["codes"][0]][1] == level]
        result[level] = (len(own), sum(map(is_detected, own)), sum(is_diagnosed(row, rules) for row in own))
    return result


def summary(rows: list[Row], rules: Rules) -> str:
    """A few lines for the terminal."""
    lines = []
    for level, (count, detected, diagnosed) in shares(rows, rules).items():
        if count:
            lines.append(
                f"{level}: {count} mutants, {detected / count:.1%} found, {diagnosed / count:.1%} diagnosed (target {TARGETS[level]:.0%})"
            )
    for row in judged(rows):
        if not is_diagnosed(row, rules):
            named = [f"{item['level'][0]}:{item['code']}@{item['module']}" for item in row["findings"] if item["level"] != "info"]
            noted = [f"i:{item['code']}@{item['module']}" for item in row["findings"] if item["code"] in row["codes"] and item["level"] == "info"]
            lines.append(
                f"missed {row['codes'][0]} [{row['operator']}] in {row['subject']} at {row['places']}: {named + noted} {row['skipped'] or ''}"
            )
    lines += [f"false alarm {code}: {', '.join(subjects)}" for code, subjects in sorted(false_alarms(rows).items())]
    lines += [
        f"{row['status']}: {row['operator'] or 'unmutated'} in {row['subject']}: {row.get('error', '')}"
        for row in rows
        if row["status"] in ("crashed", "timeout")
    ]
    return "\n".join(lines)


def page(rows: list[Row], rules: Rules) -> str:
    """The page."""
    subjects = {row["subject"] for row in rows}
    mutants = judged(rows)
    operators = {row["operator"] for row in mutants}
    lines = [
        "# Mutation tests",
        "",
        f"{len(operators)} operators each put one fault into {len(subjects)} healthy models, where the model offers a place for",
        f"it: {len(mutants)} mutants. Written by `python benchmarks/mutation.py`; the operators are in benchmarks/mutators.py and",
        "benchmarks/mutators_training.py. *Found*: the rule that the fault belongs to fires at warning or above. *Diagnosed*: it",
        "fires at its own level and names the layer that was changed. *False alarms*: unmutated models on which the rule fires.",
        "",
        "| rules | mutants | found | diagnosed | target |",
        "|---|---:|---:|---:|---:|",
    ]
    for level, (count, detected, diagnosed) in shares(rows, rules).items():
        if count:
            lines.append(f"| {level} | {count} | {detected / count:.1%} | {diagnosed / count:.1%} | {TARGETS[level]:.0%} |")
    alarms = false_alarms(rows)
    lines += ["", "| rule | name | fault | mutants | found | diagnosed | false alarms |", "|---|---|---|---:|---:|---:|---:|"]
    for code, own in table(rows, rules):
        names = "; ".join(dict.fromkeys(row["operator"] for row in own))
        found, right = sum(map(is_detected, own)), sum(is_diagnosed(row, rules) for row in own)
        counts = f"{len(own)} | {found / len(own):.0%} | {right / len(own):.0%} | {len(alarms.get(code, ()))}"
        lines.append(f"| {code} | {rules[code][0]} | {names} | {counts} |")
    lines += ["", "## Not diagnosed", ""]
    lines += [_missed(row, rules) for row in mutants if not is_diagnosed(row, rules)] or ["None."]
    lines += ["", "## False alarms on unmutated models", ""]
    lines += [f"- {code}: {', '.join(names)}" for code, names in sorted(alarms.items())] or ["None."]
    return "\n".join(lines) + "\n"


def _missed(row: Row, rules: Rules) -> str:
    loud = [f"{item['code']} at `{item['module'] or '(model)'}`" for item in row["findings"] if item["level"] != "info"]
    noted = [f"{item['code']} as {item['level']}" for item in row["findings"] if item["code"] in row["codes"]]
    what = "; ".join(dict.fromkeys([*noted, *loud])) or "nothing"
    reason = f" ({'; '.join(f'{code} skipped: {text}' for code, text in row['skipped'].items())})" if row["skipped"] else ""
    return f"- {row['codes'][0]} {rules[row['codes'][0]][0]}, {row['operator']}, {row['subject']}: found {what}{reason}"
