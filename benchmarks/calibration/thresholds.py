"""How far the thresholds of the rules are from healthy models on one side and from the known faults on the other.

    python benchmarks/calibration/thresholds.py [--zoo DIRECTORY] [--lib nn,hf] [--every 8] [--rules LOS,INI] [--write]

Each rule is run on healthy models with one option at a time moved by the factors below: the models of the zoo as one would
train them (benchmarks/zoo_setup.py), the healthy idioms of tests/idioms and the nets of grid.py. Then on its own faulty
fixture and the faulty idioms that expect it. `--write` puts the tables into docs/evidence/calibration.md, at the section that the
options name. Rules that need a longer probe are left out: those probes have scripts of their own.
"""

from __future__ import annotations

import argparse
import gc
import re
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "rules"), str(ROOT / "benchmarks" / "calibration"), str(ROOT / "tests" / "idioms")]

import grid  # noqa: E402
import torch  # noqa: E402
from sections import put  # noqa: E402

from benchmarks.zoo_setup import training_setup  # noqa: E402
from nnlint import registry  # noqa: E402
from nnlint.finding import Level, Skip  # noqa: E402
from nnlint.options import Options  # noqa: E402
from nnlint.probes.session import Plan, Session  # noqa: E402
from nnlint.rule import NEEDS, Rule  # noqa: E402
from nnlint.setup import SetupOptions, coerce  # noqa: E402
from nnlint.setup.target.resolve import resolve  # noqa: E402
from nnlint.testing.expectations import read_builds  # noqa: E402

FACTORS = (0.1, 0.25, 0.5, 0.8, 1.0, 1.25, 2.0, 4.0, 10.0)
SHOWN = FACTORS[1:-1]
ANCHOR = re.compile(r"calibration\.md#([\w-]+)")
#: Options from which on a finding is an error: counted by their errors.
GRAVE = re.compile(r"grave|fatal|rare")
TEXT = """The tables with `x` columns are by `benchmarks/calibration/thresholds.py`: each rule with one of its limits multiplied
by the factor above, on healthy models and on its faulty fixtures and idioms. A cell counts the healthy models accused (by any
finding, a note as well; options that make an error of a warning count errors) and the faulty ones found; beside the option, how
many of both the rule was evaluated on."""
Subject = tuple[str, Callable[[], Any], frozenset[str]]  # name, build, codes that are expected


@dataclass
class Counts:
    """Of one option: models judged, and at each factor the healthy models accused and the faulty ones found."""

    healthy: int = 0
    faulty: int = 0
    accused: dict[float, set[str]] = field(default_factory=lambda: defaultdict(set))
    found: dict[float, set[str]] = field(default_factory=lambda: defaultdict(set))


def thresholds(rule: Rule) -> dict[str, float]:
    """The options of a rule that are numbers, with their defaults."""
    if rule.options is None or ("deep" in {NEEDS[kind] for kind in rule.evidence.values()} and not rule.optional):
        return {}
    given = {name: described.default for name, described in rule.options.model_fields.items()}
    return {name: value for name, value in given.items() if isinstance(value, (int, float)) and not isinstance(value, bool)}


def moved(options: type[Options], name: str, value: float, factor: float) -> Options | None:
    """The options with one of them moved; None where a whole number does not move."""
    new = round(value * factor) if isinstance(value, int) else value * factor
    return None if factor != 1.0 and new == value else options(**{name: new})


def evidence(session: Session, rule: Rule) -> dict[str, Any]:
    """What the rule asks for; the longer probes are not run.

    Raises:
        Skip: the rule cannot be evaluated.
    """
    given: dict[str, Any] = {}
    for parameter, kind in rule.evidence.items():
        try:
            given[parameter] = session.evidence(kind)
        except Skip:
            if parameter not in rule.optional:
                raise
            given[parameter] = None
    return given


def judge(session: Session, rule: Rule, counts: dict[str, Counts], subject: str, *, faulty: bool) -> None:
    """Run one rule at all settings of its options."""
    assert rule.options is not None
    assert rule.options_parameter is not None
    try:
        given = evidence(session, rule)
        list(rule.check(**given, **{rule.options_parameter: rule.options()}))
    except Skip:
        return
    for name, value in thresholds(rule).items():
        count = counts[f"{rule.code} {name}"]
        if faulty:
            count.faulty += 1
        else:
            count.healthy += 1
        for factor in FACTORS:
            options = moved(rule.options, name, value, factor)
            if options is None:
                continue
            try:
                # Any finding counts, a note as well; what makes an error is counted by errors.
                least = Level.ERROR if GRAVE.match(name) else Level.INFO
                found = rule.check(**given, **{rule.options_parameter: options})
                fired = any((finding.level or rule.level).at_least(least) for finding in found)
            except Skip:
                continue
            if fired:
                (count.found if faulty else count.accused)[factor].add(subject)


def healthy(arguments: argparse.Namespace) -> Iterator[Subject]:
    """Models that no rule may accuse."""
    for name, make in grid.MODELS.items():
        yield f"grid/{name}", lambda make=make: coerce(_with_optimizer(make(32)), SetupOptions()), frozenset()
    yield from _builds(sorted((ROOT / "tests" / "idioms").glob("healthy_*.py")))
    if arguments.zoo is not None:
        sys.path.insert(0, str(arguments.zoo))
        import zoo

        for number, (name, build) in enumerate(zoo.zoo(tuple(arguments.lib.split(",")))):
            if name.startswith("nn/") or number % arguments.every == 0:
                yield name, lambda name=name, build=build: coerce(training_setup(name, build).fields, SetupOptions()), frozenset()


def _with_optimizer(fields: dict[str, Any]) -> dict[str, Any]:
    return {**fields, "optimizer": torch.optim.AdamW(fields["model"].parameters(), lr=1e-3)}


def faulty() -> Iterator[Subject]:
    """Models with a known fault."""
    twins = sorted((ROOT / "fixtures").glob("*/*/bad.py"))
    yield from _builds([file for file in twins if "\ndef build" in file.read_text(encoding="utf-8")])
    yield from _builds(sorted((ROOT / "tests" / "idioms").glob("faulty_*.py")))


def _builds(files: list[Path]) -> Iterator[Subject]:
    for file in files:
        for build in read_builds(file):
            options = SetupOptions.from_settings(build.check_settings())
            name = f"{file.parent.name}/{file.stem}:{build.function}"
            codes = frozenset(wanted.code for wanted in build.expected)
            yield name, lambda target=build.target, options=options: resolve(target, options), codes


def table(rules: list[Rule], counts: dict[str, Counts]) -> str:
    """One row for each option: what happens as it moves."""
    head = " | ".join(f"x {factor:g}" for factor in SHOWN)
    lines = [f"| option (healthy / faulty) | limit | {head} |", "|---|---|" + "---|" * len(SHOWN)]
    for rule in rules:
        for name, value in thresholds(rule).items():
            count = counts[f"{rule.code} {name}"]
            cells = []
            for factor in SHOWN:
                still = rule.options is not None and moved(rule.options, name, value, factor) is None
                cells.append("" if still else f"{len(count.accused[factor])} / {len(count.found[factor])}")
            lines.append(f"| {rule.code} {name} ({count.healthy} / {count.faulty}) | {value:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def by_anchor(rules: list[Rule]) -> dict[str, list[Rule]]:
    """The rules by the section of the page that their options name."""
    grouped: dict[str, list[Rule]] = defaultdict(list)
    for rule in rules:
        anchor = ANCHOR.search(rule.options.__doc__ or "") if rule.options is not None else None
        grouped[anchor[1] if anchor is not None else ""].append(rule)
    return grouped


def main() -> None:
    """Measure, print, and with --write keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zoo", type=Path)
    parser.add_argument("--lib", default="nn,hf")
    parser.add_argument("--every", type=int, default=8)
    parser.add_argument("--rules", default="", help="codes or families, comma separated; all by default")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    chosen = tuple(filter(None, arguments.rules.split(",")))
    rules = [rule for rule in registry.load().rules if thresholds(rule) and (not chosen or rule.code.startswith(chosen))]
    counts: dict[str, Counts] = defaultdict(Counts)
    models = 0
    for group, is_faulty in ((healthy(arguments), False), (faulty(), True)):
        for name, build, codes in group:
            wanted = [rule for rule in rules if not is_faulty or rule.code in codes]
            if not wanted:
                continue
            try:
                session = Session(build(), Plan())
                for rule in wanted:
                    judge(session, rule, counts, name, faulty=is_faulty)
            except Exception as error:  # a library that is missing here, or a fault of the run
                print(f"{name}: left out ({type(error).__name__}: {error})", file=sys.stderr)
                continue
            del session  # model, snapshot and graph refer to each other: freed by the collector only
            gc.collect()
            models += not is_faulty
    if arguments.write and not chosen:
        put("thresholds", f"{TEXT} Of {models} healthy models, the zoo's {arguments.lib} (every {arguments.every}th) among them.")
    for anchor, members in by_anchor(rules).items():
        text = table(members, counts)
        kept = bool(anchor) and arguments.write and put(f"thresholds {anchor}", text)
        print(f"== {anchor or 'no section'}{' (written)' if kept else ''}\n{text}\n")
    for key, count in counts.items():
        if count.accused[1.0]:
            print(f"accused at the limit: {key}: {', '.join(sorted(count.accused[1.0]))}")


if __name__ == "__main__":
    main()
