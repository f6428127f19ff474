"""Put one fault at a time into healthy training scripts and see whether `nnlint run` names the right rule at the right line.

Usage: python benchmarks/loops.py [--only gan,vae] [--operator zero_grad] [--per-operator 8] [--from rows.jsonl] [--page]

The scripts of benchmarks/scripts are run as they are (no finding at warning or above is allowed), then with each fault that the
operators of benchmarks/loop_operators*.py can put into them; of each operator the first scripts are taken in an order that a
checksum draws. The silent errors of benchmarks/scripts/silent are run as they are. Writes one JSON line for each run (`--out`) and
docs/evidence/loops.md (`--page`).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "rules")]

from benchmarks import loop_operators_data, loop_operators_ranks, loop_operators_state  # noqa: E402
from benchmarks.loop_operators import OPERATORS, Operator  # noqa: E402
from benchmarks.loop_page import page  # noqa: E402
from benchmarks.loop_runs import Job, Result, effects, judged  # noqa: E402
from benchmarks.loop_script import Mutant, Script  # noqa: E402

assert loop_operators_data
assert loop_operators_state
SCRIPTS = ROOT / "benchmarks" / "scripts"
PAGE = ROOT / "docs" / "evidence" / "loops.md"
Row = dict[str, Any]

#: Faults that change no number: they cost memory, or spoil what is kept for later. They are not measured by what the script prints.
UNPRINTED = {"STP018", "EVL002", "EVL004"}


def scripts() -> list[Script]:
    """The healthy scripts."""
    return [Script(file.stem, file.read_text(encoding="utf-8")) for file in sorted(SCRIPTS.glob("*.py"))]


def mutants(given: Iterable[Script], operator: Operator, wanted: int) -> Iterator[tuple[str, Mutant]]:
    """Mutants of the first scripts that offer the operator a place, in an order drawn once for all by a checksum of the names."""
    found = 0
    for script in sorted(given, key=lambda script: zlib.crc32(f"{script.name} {operator.name}".encode())):
        made = list(operator.mutants(script))
        if not made:
            continue
        found += 1
        for number, mutant in enumerate(made, 1):
            yield f"{script.name}#{number}" if len(made) > 1 else script.name, mutant
        if found == wanted:
            return


def healthy_rows(given: Iterable[Script], workers: int) -> Iterator[Row]:
    """What is said of the scripts as they are."""
    for result in judged([Job(script.name, script.source) for script in given], workers):
        yield {"kind": "healthy", "script": result.name, **_said(result)}


def mutant_rows(given: list[Script], operators: Iterable[Operator], wanted: int, workers: int, *, measure: bool) -> Iterator[Row]:
    """What is said of the mutants; with `measure`, of those alone that do what their script does not."""
    made = {
        f"{operator.name} | {name}": (operator, mutant, name)
        for operator in operators
        for name, mutant in mutants(given, operator, wanted)
    }
    printed = {key: mutant.source for key, (operator, mutant, _) in made.items() if operator.codes[0] not in UNPRINTED}
    does = effects({script.name: script.source for script in given} | printed, workers) if measure else {}
    jobs = []
    for key, (operator, mutant, name) in made.items():
        if key in does and does[key] == does[name.split("#")[0]]:
            yield {"kind": "without effect", "script": name, "operator": operator.name, "codes": list(operator.codes)}
        else:
            jobs.append(Job(key, mutant.source))
    for result in judged(jobs, workers):
        operator, mutant, name = made[result.name]
        yield _mutant_row(operator, mutant, name, result)


def rank_rows(wanted: str, only: str, workers: int) -> Iterator[Row]:
    """What is said of the scripts for two ranks, and of their mutants."""
    given = [Script(file.stem, file.read_text(encoding="utf-8")) for file in sorted((SCRIPTS / "ranks").glob("*.py"))]
    given = [script for script in given if re.search(only, script.name)]
    for result in judged([Job(script.name, script.source, ranks=2) for script in given], workers):
        yield {"kind": "healthy", "script": result.name, **_said(result)}
    found = [
        (operator, mutant, script)
        for operator in loop_operators_ranks.OPERATORS
        if re.search(wanted, f"{operator.codes[0]} {operator.name}")
        for script in given
        for mutant in operator.mutants(script)
    ]
    jobs = [Job(str(number), mutant.source, ranks=2) for number, (_, mutant, _) in enumerate(found)]
    for result in judged(jobs, workers):
        operator, mutant, script = found[int(result.name)]
        yield _mutant_row(operator, mutant, script.name, result)


def _mutant_row(operator: Operator, mutant: Mutant, name: str, result: Result) -> Row:
    said = {"script": name, "operator": operator.name, "codes": list(operator.codes), "lines": sorted(mutant.lines)}
    return {"kind": "mutant", **said, **_said(result)}


def silent_rows(workers: int, only: str) -> Iterator[Row]:
    """What is said of the collected silent errors; each says in a comment what is expected of its line."""
    files = [file for file in sorted((SCRIPTS / "silent").glob("*.py")) if re.search(only, file.stem)]
    sources = {file.stem: file.read_text(encoding="utf-8") for file in files}
    jobs = [Job(name, source, ranks=2 if name.endswith("_ranks") else 1) for name, source in sources.items()]
    for result in judged(jobs, workers):
        wanted = [
            (code, None if whole else number)
            for number, line in enumerate(sources[result.name].splitlines(), 1)
            for code, whole in re.findall(r"# expect: (\w+)( of the model)?", line)
        ]
        first = sources[result.name].splitlines()[0].strip('"')
        yield {"kind": "silent", "script": result.name, "title": first, "wanted": wanted, **_said(result)}


def _said(result: Result) -> Row:
    found = [
        {
            "code": item["code"],
            "level": item["level"],
            "line": item["location"]["line"] if item["location"] else None,
            "message": item["message"],
        }
        for item in result.findings
    ]
    return {"findings": found, "error": result.error, "seconds": round(result.seconds, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="scripts whose name matches one of these, comma separated")
    parser.add_argument("--operator", default="", help="operators whose name or code matches")
    parser.add_argument("--per-operator", type=int, default=8, help="scripts for each operator")
    parser.add_argument("--no-measure", dest="measure", action="store_false", help="keep mutants that may have no effect")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--parts", default="healthy,mutants,ranks,silent")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "loops.jsonl")
    parser.add_argument("--from", dest="given", type=Path, action="append", help="write the page from these rows; run nothing")
    parser.add_argument("--page", action="store_true", help="write docs/evidence/loops.md")
    asked = parser.parse_args()
    if asked.given:
        rows = [json.loads(line) for file in asked.given for line in file.read_text().splitlines()]
    else:
        rows = list(_all_rows(asked))
    if asked.page:
        PAGE.write_text(page(rows, _rules()), encoding="utf-8")
    _print_missed(rows)
    return 0


def _all_rows(asked: argparse.Namespace) -> Iterator[Row]:
    given = [script for script in scripts() if any(name in script.name for name in asked.only.split(","))]
    chosen = [one for one in OPERATORS if re.search(asked.operator, f"{one.codes[0]} {one.name}")]
    parts = {
        "healthy": lambda: healthy_rows(given, asked.workers),
        "mutants": lambda: mutant_rows(given, chosen, asked.per_operator, asked.workers, measure=asked.measure),
        "ranks": lambda: rank_rows(asked.operator, asked.only.replace(",", "|"), asked.workers),
        "silent": lambda: silent_rows(asked.workers, asked.only.replace(",", "|")),
    }
    begun = time.monotonic()
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    with asked.out.open("w", encoding="utf-8") as out:
        for part in asked.parts.split(","):
            for row in parts[part]():
                out.write(json.dumps(row) + "\n")
                out.flush()
                yield row
    print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)


def _rules() -> dict[str, tuple[str, str]]:
    from nnlint import registry

    return {rule.code: (rule.name, rule.level.value) for rule in registry.load().rules}


def _print_missed(rows: list[Row]) -> None:
    from benchmarks.loop_page import is_diagnosed, loud

    rules = _rules()
    for row in rows:
        if row["kind"] == "healthy" and (loud(row) or row["error"]):
            print("ALARM", row["script"], [(item["code"], item["line"], item["message"]) for item in loud(row)], row["error"][-300:])
        if row["kind"] == "mutant" and not is_diagnosed(row, rules):
            said = [(item["code"], item["level"], item["line"]) for item in row["findings"]]
            print("MISSED", row["codes"][0], "|", row["operator"], "|", row["script"], row["lines"], said, row["error"][-300:])
        if row["kind"] == "silent":
            print("SILENT", row["script"], row["wanted"], [(item["code"], item["level"], item["line"]) for item in row["findings"]])


if __name__ == "__main__":
    sys.exit(main())
