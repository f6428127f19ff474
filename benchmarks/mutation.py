"""Put one fault at a time into healthy models and see whether the right rule names the right place.

Usage: python benchmarks/mutation.py [--operator LOS001] [--only resnet] [--idioms 10] [--zoo-models 6] [--workers 2] [--seconds 500]

The models are the healthy idioms of tests/idioms and a part of the zoo. Each operator is tried on them in an order that a
checksum draws, until enough offer it a place. Writes one JSON line for each mutant as it comes (`--out`; `--resume` goes on from
there) and docs/evidence/mutation.md (`--page`): recall, diagnosis and the false alarms on the unmutated twins, for each rule.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: the workers share the cores

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "rules")]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Mutate healthy models and check the mutants.")
    parser.add_argument("--only", metavar="TEXT", default="", help="subjects whose name holds TEXT")
    parser.add_argument(
        "--operator",
        metavar="TEXT",
        default="",
        help="operators whose name holds TEXT, or that stand for this code; several with commas",
    )
    parser.add_argument(
        "--idioms", type=int, default=10, metavar="N", help="put each operator into this many of the idioms"
    )
    parser.add_argument(
        "--zoo-models", type=int, default=6, metavar="N", help="and into this many models of the zoo; 0: no zoo"
    )
    parser.add_argument(
        "--zoo",
        type=Path,
        metavar="FOLDER",
        default=os.environ.get("NNLINT_ZOO"),
        help="folder of another zoo.py; default: NNLINT_ZOO, else benchmarks/zoo",
    )
    parser.add_argument("--no-twins", action="store_true", help="leave out the unmutated models")
    _add_running(parser)
    return parser.parse_args()


def _add_running(parser: argparse.ArgumentParser) -> None:
    """How it runs and what it writes."""
    parser.add_argument(
        "--rows",
        type=Path,
        nargs="*",
        metavar="FILE",
        help="write the page of these rows and check nothing; of two rows of one mutant the later counts",
    )
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after S seconds with what is done")
    parser.add_argument("--time-limit", type=float, default=120, metavar="SECONDS", help="for one check")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "mutation.jsonl")
    parser.add_argument("--resume", action="store_true", help="keep what --out holds and make the rest")
    parser.add_argument(
        "--missed", action="store_true", help="with --resume: make those mutants again that were not diagnosed"
    )
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "evidence" / "mutation.md")
    parser.add_argument("--no-page", action="store_true", help="write no page (a part of the mutants is no result)")


def main() -> int:
    # A killed run must not leave its workers behind: an ordinary exit ends them.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments = _arguments()
    from benchmarks.mutation_page import page, summary
    from benchmarks.sweep import read
    from nnlint import registry

    rules = {rule.code: (rule.name, rule.level.value) for rule in registry.load().rules}
    rows = (
        _checked(arguments, rules)
        if arguments.rows is None
        else latest([row for file in arguments.rows for row in read(file)])
    )
    print(summary(rows, rules))
    if not arguments.no_page:
        arguments.page.write_text(page(rows, rules, arguments.idioms, arguments.zoo_models), encoding="utf-8")
        print(f"wrote {arguments.page}")
    return 0


def latest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of several rows of a mutant the last one."""
    return list({(row["subject"], row["operator"]): row for row in rows}.values())


def _checked(arguments: argparse.Namespace, rules: dict[str, tuple[str, str]]) -> list[dict[str, Any]]:
    """The rows of this run, written as they come, and those that were there."""
    from benchmarks.mutation_runs import rows_of
    from benchmarks.sweep import commit, preload, read

    rows = latest(read(arguments.out)) if arguments.resume else []
    if arguments.missed:
        rows = [row for row in rows if not _is_missed(row, rules)]
    lanes = _lanes(arguments, rows)
    preload()
    now, wanted = commit(), sum(lane.wanted for lane in lanes)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
        out.flush()
        how = {"workers": arguments.workers, "limit_s": arguments.time_limit, "seconds": arguments.seconds}
        made = 0
        for made_row in rows_of(lanes, **how):
            row = made_row | ({"commit": now} if now else {})
            rows.append(row)
            out.write(json.dumps(row) + "\n")
            out.flush()
            if "places" in row or row["status"] in ("crashed", "timeout", "killed"):
                made += 1
                print(
                    f"{made}/{wanted} {row['operator'] or 'unmutated'}: {row['subject']}, {row['status']}", flush=True
                )
    return rows


def _is_missed(row: dict[str, Any], rules: dict[str, tuple[str, str]]) -> bool:
    """Whether a mutant was not diagnosed, or its check came to no end; or an unmutated model not silent."""
    from benchmarks.mutation_page import is_diagnosed

    if "findings" not in row:
        return row["status"] in ("crashed", "timeout", "killed")
    if not row["operator"]:
        return any(item["level"] != "info" for item in row["findings"])
    return not is_diagnosed(row, rules)


def _lanes(arguments: argparse.Namespace, done: list[dict[str, Any]]) -> list[Any]:
    from benchmarks.mutation_operators import OPERATORS
    from benchmarks.mutation_runs import lane
    from benchmarks.mutation_subjects import idioms, zoo_models
    from benchmarks.sweep import zoo_module

    zoo = (
        [one for one in zoo_models(zoo_module(arguments.zoo)) if arguments.only in one.name]
        if arguments.zoo_models
        else []
    )
    own = [one for one in idioms() if arguments.only in one.name] if arguments.idioms else []
    asked = arguments.operator.split(",")
    wanted = [one for one in OPERATORS if any(text in one.name or text in one.codes for text in asked)]
    lanes = [lane(None, [*own, *zoo], 0 if arguments.no_twins else None, done)]
    for operator in wanted:
        lanes += [lane(operator, own, arguments.idioms, done), lane(operator, zoo, arguments.zoo_models, done)]
    return lanes


if __name__ == "__main__":
    raise SystemExit(main())
