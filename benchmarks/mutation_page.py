"""docs/evidence/mutation.md from the rows of benchmarks/mutation.py."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.sweep_page import DEFENCES

Row = dict[str, Any]
Rules = Mapping[str, tuple[str, str]]

_RANK = {"info": 0, "warning": 1, "error": 2}
TARGETS = {"error": 0.95, "warning": 0.85}
LEVELS = ("error", "warning", "info")


def is_detected(row: Row, rules: Rules) -> bool:
    """Whether one of the rules that must report the fault did, and not as a mere note where the rule is no note."""
    return any(item["code"] in row["codes"] and _is_loud(item, rules) for item in row["findings"])


def _is_loud(item: Mapping[str, Any], rules: Rules) -> bool:
    return item["level"] != "info" or rules[item["code"]][1] == "info"


def is_diagnosed(row: Row, rules: Rules) -> bool:
    """Whether it did so at the right place, and not below its own level."""
    return any(
        item["code"] in row["codes"]
        and _RANK[item["level"]] >= _RANK[row.get("level") or rules[item["code"]][1]]
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
    """Subjects whose unmutated twin has a finding at warning or above, by code; what benchmarks/defended.json shows to be true is none."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if not row["operator"]:
            for code in dict.fromkeys(item["code"] for item in row.get("findings", ()) if item["level"] != "info"):
                if f"{code} {row['subject']}" not in DEFENCES:
                    found[code].append(row["subject"])
    return found


def shares(rows: list[Row], rules: Rules) -> dict[str, tuple[int, int, int]]:
    """Mutants, detected and diagnosed ones, by the level of the rule."""
    result = {}
    for level in LEVELS:
        own = [row for row in judged(rows) if (row.get("level") or rules[row["codes"][0]][1]) == level]
        result[level] = (
            len(own),
            sum(is_detected(row, rules) for row in own),
            sum(is_diagnosed(row, rules) for row in own),
        )
    return result


def summary(rows: list[Row], rules: Rules) -> str:
    """A few lines for the terminal."""
    lines = []
    for level, (count, detected, diagnosed) in shares(rows, rules).items():
        if count:
            lines.append(f"{level}: {count} mutants, {detected / count:.1%} found, {diagnosed / count:.1%} diagnosed")
    missed = [row for row in judged(rows) if not is_diagnosed(row, rules)]
    lines += [
        f"missed {row['codes'][0]} [{row['operator']}] in {row['subject']} at {row['places']}: {_instead(row)}"
        for row in missed
    ]
    lines += [f"false alarm {code}: {', '.join(subjects)}" for code, subjects in sorted(false_alarms(rows).items())]
    return "\n".join([*lines, *_unfinished(rows)])


def _unfinished(rows: list[Row]) -> list[str]:
    """What could not be checked."""
    failed = [row for row in rows if row["status"] in ("crashed", "timeout", "killed")]
    return [
        f"{row['status']}: {row['operator'] or 'unmutated'} in {row['subject']}: {row.get('error', '')}"
        for row in failed
    ]


#: Why some rules have no operator.
WITHOUT = {
    "RUN001, RUN003, RUN004, RUN005, RUN006, RUN007, RUN008, RUN009, RUN010, RUN011, RUN012, RUN013": "about a check that cannot be made: no fault that a healthy model is given",
    "STP, EVL, DST": "about the script around the model: [loops.md](loops.md) puts those faults into training loops",
    "RUN002": "counts for the operators after which torch itself refuses the forward",
    "DAT009": "a convolution given (batch, height, width, channels) raises by itself unless both sizes fit by chance",
    "GRD005, GRD006": "notes on how gradients come out over many steps (spikes, fp16): no change of a model makes them for certain",
    "INI012, NRM002, NRM003, NRM012, OPT006": "notes on healthy habits: no faults",
    "TRN001": "is what remains where no rule finds a cause: each fault here that keeps a model from learning has a rule of its own",
    "TRN002": "counts for the learning rate that is 1000 times too high",
    "TRN004": "depends on where the steps lead; dead units can only be made before the first, which is SIG001",
    "TRN005, TRN006": "need validation data, or targets that the inputs explain; the zoo's labels are random",
}


def page(rows: list[Row], rules: Rules, idioms: int = 0, zoo_models: int = 0) -> str:
    """The page; `idioms` and `zoo_models`: how many mutants an operator was asked for."""
    nowhere = [row for row in rows if row["status"] == "not applicable"]
    rows = [row for row in rows if row["status"] != "not applicable"]
    return "\n".join(
        [
            *_head(rows, rules, idioms, zoo_models),
            *_table(rows, rules),
            *_missed(rows, rules),
            "",
            "## False alarms on unmutated models",
            "",
            *([f"- {code}: {', '.join(names)}" for code, names in sorted(false_alarms(rows).items())] or ["None."]),
            *_without(rows, rules),
            *_few(rows, nowhere),
            "",
            "## Not checked to the end",
            "",
            *([f"- {line}" for line in _unfinished(rows)] or ["None."]),
            "",
        ]
    )


#: How many mutants of a code are too few to read a share from.
FEW = 5


def _few(rows: list[Row], nowhere: list[Row]) -> list[str]:
    """Rules whose operators found few places, and operators that found none."""
    counts = Counter(row["codes"][0] for row in judged(rows))
    few = ", ".join(f"{code} ({count})" for code, count in sorted(counts.items()) if count < FEW)
    made = {row["operator"] for row in judged(rows)}
    tried: Counter[tuple[str, str]] = Counter((row["codes"][0], row["operator"]) for row in nowhere if row["operator"] not in made)
    lines = [f"- Fewer than {FEW} mutants, so that the shares above say little: {few}."] if few else []
    lines += [f"- {code}: {count} models offered no place for: {name}." for (code, name), count in sorted(tried.items())]
    return ["", "## Rules with few mutants", "", *(lines or ["None."])]


def _without(rows: list[Row], rules: Rules) -> list[str]:
    """Rules that no mutant was made for."""
    counted = {row["codes"][0] for row in judged(rows)}
    explained = {code: why for codes, why in WITHOUT.items() for code in codes.split(", ")}
    also = {code for row in judged(rows) for code in row["codes"][1:]} - counted - explained.keys()
    lines = [f"- {codes}: {why}." for codes, why in WITHOUT.items()]
    lines += [f"- {', '.join(sorted(also))}: counted as other names of faults above."] if also else []
    missing = sorted(code for code in rules.keys() - counted - explained.keys() - also if code[:3] not in explained)
    lines += [f"- {', '.join(missing)}: the sample has no model that offers the operator a place."] if missing else []
    return ["", "## Rules without a mutant, and why", "", *lines]


def _libraries(subjects: Iterable[str]) -> str:
    counts = Counter(subject.partition("/")[0] for subject in subjects)
    return ", ".join(
        f"{count} of {'the ' if source == 'idioms' else ''}{source}" for source, count in counts.most_common()
    )


#: What rows of several commits are.
REDONE = (
    "After rules or operators were changed, the mutants that had been missed and those of the changed operators were made again on the",
    "later commit; the others, which had been diagnosed, are of the earlier one.",
)


def _head(rows: list[Row], rules: Rules, idioms: int, zoo_models: int) -> list[str]:
    mutants, subjects = judged(rows), {row["subject"] for row in rows}
    operators = {row["operator"] for row in mutants}
    made = Counter(row["commit"] for row in rows if row.get("commit"))
    commits = ", ".join(f"{count} checks on {commit}" for commit, count in made.most_common())
    lines = [
        "# Mutation tests",
        "",
        f"{len(operators)} operators each put one fault into {len(subjects)} healthy models ({_libraries(subjects)}),",
        f"where the model offers a place for it: {len(mutants)} mutants ({_libraries(row['subject'] for row in mutants)}).",
        f"Each operator was tried on the models in an order that a checksum of the names draws, until {idioms} idioms and {zoo_models} models",
        "of the zoo offered it a place, or none was left. Pictures of the zoo are cut to 96 x 96 where the model takes them.",
        "A run that is stopped (`--seconds`) has made fewer, in an order that was shuffled over all operators.",
        "The unmutated models are judged as their users see them; a fault in a library's model is judged as if it were one's own code.",
        "",
        f"Written by `python benchmarks/mutation.py --idioms {idioms} --zoo-models {zoo_models}`{f' ({commits})' if commits else ''}; the operators are in",
        "benchmarks/mutators*.py, the models are the healthy idioms of tests/idioms and small ones of the zoo.",
        *(REDONE if len(made) > 1 else ()),
        "",
        "*Found*: a rule that the fault belongs to fires, at warning or above unless its own level is info. *Diagnosed*: it fires",
        "at its own level (the one of its page, where that gives this form of the fault another) and names the layer that was changed.",
        "*False alarms*: unmutated models on which the rule fires at warning or above, less the few findings that benchmarks/defended.json shows to be true.",
        "",
        "| rules | mutants | found | diagnosed | target |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += _levels(rows, rules, "")
    return [*lines, *_levels([row for row in rows if not row["subject"].startswith("idioms/")], rules, ", zoo alone")]


def _levels(rows: list[Row], rules: Rules, suffix: str) -> list[str]:
    """A line for the rules of each level."""
    lines = []
    for level, (count, detected, diagnosed) in shares(rows, rules).items():
        if count:
            target = f"{TARGETS[level]:.0%}" if level in TARGETS else ""
            lines.append(f"| {level}{suffix} | {count} | {detected / count:.1%} | {diagnosed / count:.1%} | {target} |")
    return lines


def _table(rows: list[Row], rules: Rules) -> list[str]:
    alarms = false_alarms(rows)
    columns = ("rule", "name", "level", "fault", "mutants", "found", "diagnosed", "false alarms")
    lines = ["", f"| {' | '.join(columns)} |", "|---|---|---|---|---:|---:|---:|---:|"]
    for code, own in table(rows, rules):
        names = "; ".join(dict.fromkeys(row["operator"] for row in own))
        found, right = sum(is_detected(row, rules) for row in own), sum(is_diagnosed(row, rules) for row in own)
        counts = f"{len(own)} | {found / len(own):.0%} | {right / len(own):.0%} | {len(alarms.get(code, ()))}"
        lines.append(f"| {code} | {rules[code][0]} | {rules[code][1]} | {names} | {counts} |")
    return lines


def _missed(rows: list[Row], rules: Rules) -> list[str]:
    missed = [row for row in judged(rows) if not is_diagnosed(row, rules)]
    if not missed:
        return ["", "## Not diagnosed", "", "None."]
    missed.sort(key=lambda row: (-_RANK[rules[row["codes"][0]][1]], row["codes"][0], row["operator"], row["subject"]))
    lines = ["", "## Not diagnosed", "", "| rule | fault | missed where | what was said instead |", "|---|---|---|---|"]
    for row in missed:
        where = row["subject"] + (f", at `{', '.join(row['places'][:2]) or '(model)'}`" if row["places"] else "")
        lines.append(f"| {row['codes'][0]} | {row['operator']} | {where} | {_instead(row)} |")
    return lines


def _instead(row: Row) -> str:
    """What was reported in place of the right finding, and why the rule itself was silent where it said so."""
    own = [item for item in row["findings"] if item["code"] in row["codes"]]
    noted = [f"{item['code']} as {item['level']} at `{item['module'] or '(model)'}`" for item in own]
    others = [item for item in row["findings"] if item["level"] != "info" and item not in own]
    loud = [f"{item['code']} at `{item['module'] or '(model)'}`" for item in others]
    reasons = [f"{code} skipped: {text}" for code, text in row["skipped"].items()]
    said = (
        "; ".join(dict.fromkeys([*noted, *loud, *reasons])) or "nothing: the rule's measurement stays within its limit"
    )
    return said.replace("|", "\\|").replace("\n", " ")
