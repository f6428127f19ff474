"""docs/evidence/loops.md from the rows of benchmarks/loops.py."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

Row = dict[str, Any]
Rules = Mapping[str, tuple[str, str]]

_RANK = {"info": 0, "warning": 1, "error": 2}
TARGETS = {"error": 0.95, "warning": 0.85}
LEVELS = ("error", "warning", "info")

HEAD = """# Faults in training loops

{operators} operators each put one fault into {scripts} healthy training scripts, where the script offers a place for it: {mutants} mutants.
The scripts were written for this project in the style of public examples:
{names}.
Each mutant is run by `nnlint run train.py` with no option, in a process of its own. Of each operator the first scripts are taken in
an order that a checksum of the names draws.

Written by `python benchmarks/loops.py --per-operator 6 --page`; the scripts are in benchmarks/scripts, the operators in benchmarks/loop_operators*.py.

*Found*: the rule that the fault belongs to fires, at warning or above unless its own level is info. *Diagnosed*: it also names a line
of the fault: the changed line itself, or, where something was deleted or moved, a line that took part (stated for each operator
in its code). *Alone*: diagnosed, and nothing else is reported at warning or above. The codes and lines of a mutant are fixed when it is made.

A mutant that does exactly what its script does (everything printed and every loss handed to a backward are bit for bit equal over the
whole run) has no fault and is left out: {without} of them, listed below. Rules about memory and about what is kept for later
(STP018, EVL002, EVL004) are not measured so.
"""


def loud(row: Row) -> list[dict[str, Any]]:
    """Findings at warning or above."""
    return [item for item in row["findings"] if item["level"] != "info"]


def _named(row: Row, rules: Rules) -> list[dict[str, Any]]:
    is_note = rules[row["codes"][0]][1] == "info"
    return [item for item in row["findings"] if item["code"] in row["codes"] and (is_note or item["level"] != "info")]


def is_found(row: Row, rules: Rules) -> bool:
    """Whether the right rule fired."""
    return bool(_named(row, rules))


def is_diagnosed(row: Row, rules: Rules) -> bool:
    """Whether it did at the right line."""
    return any(item["line"] in row["lines"] for item in _named(row, rules))


def is_alone(row: Row, rules: Rules) -> bool:
    """Whether nothing else was said."""
    return is_diagnosed(row, rules) and all(item["code"] in row["codes"] for item in loud(row))


def page(rows: list[Row], rules: Rules) -> str:
    """The page."""
    made = [row for row in rows if row["kind"] == "mutant"]
    healthy = sorted((row for row in rows if row["kind"] == "healthy"), key=lambda row: row["script"])
    without = [row for row in rows if row["kind"] == "without effect"]
    parts = [
        HEAD.format(
            operators=len({(row["codes"][0], row["operator"]) for row in made}),
            scripts=len(healthy),
            mutants=len(made),
            names=textwrap.fill(", ".join(row["script"] for row in healthy), 140),
            without=len(without),
        ),
        _levels(made, rules),
        "## By rule\n\n" + _by_rule(made, rules),
        "## By operator\n\n" + _by_operator(made, rules),
        "## Healthy scripts\n\n" + _healthy(healthy),
        "## Collected silent errors\n\n" + _silent([row for row in rows if row["kind"] == "silent"]),
        "## Not diagnosed\n\n" + _missed(made, rules),
        "## Without effect\n\n" + _without(without),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _share(rows: list[Row], test: Any, rules: Rules) -> str:
    return f"{sum(test(row, rules) for row in rows) / len(rows):.1%}" if rows else ""


def _cells(rows: list[Row], rules: Rules) -> str:
    return " | ".join([str(len(rows)), *(_share(rows, test, rules) for test in (is_found, is_diagnosed, is_alone))])


def _levels(made: list[Row], rules: Rules) -> str:
    lines = ["| rules | mutants | found | diagnosed | alone | target |", "|---|---:|---:|---:|---:|---:|"]
    for level in LEVELS:
        own = [row for row in made if rules[row["codes"][0]][1] == level]
        if own:
            lines.append(f"| {level} | {_cells(own, rules)} | {f'{TARGETS[level]:.0%}' if level in TARGETS else ''} |")
    return "\n".join(lines)


def _by_rule(made: list[Row], rules: Rules) -> str:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in made:
        groups[row["codes"][0]].append(row)
    lines = ["| rule | name | level | mutants | found | diagnosed | alone |", "|---|---|---|---:|---:|---:|---:|"]
    for code, own in sorted(groups.items(), key=lambda pair: (-_RANK[rules[pair[0]][1]], pair[0])):
        lines.append(f"| {code} | {rules[code][0]} | {rules[code][1]} | {_cells(own, rules)} |")
    return "\n".join(lines)


def _by_operator(made: list[Row], rules: Rules) -> str:
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in made:
        groups[row["codes"][0], row["operator"]].append(row)
    lines = ["| rule | fault | mutants | found | diagnosed | alone |", "|---|---|---:|---:|---:|---:|"]
    for (code, name), own in sorted(groups.items()):
        lines.append(f"| {code} | {name} | {_cells(own, rules)} |")
    return "\n".join(lines)


def _healthy(rows: list[Row]) -> str:
    alarms = [f"- {row['script']}: {item['code']}, {item['message']}" for row in rows for item in loud(row)]
    failed = [f"- {row['script']} could not be judged: {row['error']}" for row in rows if row["error"]]
    said = f"{len(rows)} scripts, {len(alarms)} findings at warning or above, {len(failed)} scripts that could not be judged."
    return "\n".join([said, "", *alarms, *failed])


#: Of the research tool's errors, those that no script here can show.
_NOT_SHOWN = """Not reproduced: pytorch-115607 (a skipped step under dynamo) and stackoverflow-67180955 in its first form do not happen any more with
torch 2.13; pytorch-84803, pytorch-96600 and baichuan2-86 are faulty transfers between devices; transformers-17877, -23723 and -34204,
lightning-thunder-725 and deepspeed-5794 need old versions, a GPU, or are no faults of a training loop."""


def _silent(rows: list[Row]) -> str:
    lines = ["| case | fault | expected | said |", "|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: row["script"]):
        wanted = ", ".join(_at(code, line) for code, line in row["wanted"]) or "nothing: no rule says it"
        said = ", ".join(_at(item["code"], item["line"]) for item in loud(row)) or "nothing"
        lines.append(f"| {row['script']} | {row['title']} | {wanted} | {said} |")
    return "\n".join([*lines, "", _NOT_SHOWN])


def _at(code: str, line: int | None) -> str:
    return f"{code} at line {line}" if line is not None else f"{code} of the model"


def _missed(made: list[Row], rules: Rules) -> str:
    lines = []
    for row in sorted(made, key=lambda row: (row["codes"][0], row["operator"], row["script"])):
        if not is_diagnosed(row, rules):
            said = ", ".join(f"{item['code']} ({item['level']}) at line {item['line']}" for item in row["findings"]) or "nothing"
            lines.append(f"- {row['codes'][0]}, {row['operator']}, {row['script']} (lines {_lines(row['lines'])}): said {said}")
    return "\n".join(lines) or "None."


def _lines(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:6])) + (", ..." if len(numbers) > 6 else "")


def _without(rows: list[Row]) -> str:
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        groups[row["codes"][0], row["operator"]].append(row["script"])
    return "\n".join(f"- {code}, {name}: {', '.join(sorted(names))}" for (code, name), names in sorted(groups.items())) or "None."
