"""How far the thresholds of the rules are from healthy models on one side and from the known faults on the other.

    python benchmarks/calibration/thresholds.py [--lib nn,hf] [--every 8] [--rules LOS,INI] [--resume] [--write]

Each rule is run on healthy models with one option at a time moved by the factors below: the models of the zoo as one would
train them (benchmarks/zoo_setup.py), the healthy idioms of tests/idioms and the nets of grid.py. Then on its own faulty
fixture, the faulty idioms that expect it, and healthy models with a fault of the mutation operators (variants.py), until it was
evaluated on 20. Each judgement is a line of `--out`, and `--resume` keeps those that are there. `--write` puts the tables into docs/evidence/calibration.md, at the section that the
options name. Rules that need a longer probe are left out: those probes have scripts of their own.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "rules"), str(ROOT / "benchmarks" / "calibration"), str(ROOT / "tests" / "idioms")]

import grid  # noqa: E402
import torch  # noqa: E402
from sections import put  # noqa: E402
from variants import WANTED, healthy_models, variants  # noqa: E402

from benchmarks import zoo  # noqa: E402
from benchmarks.zoo.torchvision_ops import complete_torchvision  # noqa: E402
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
#: Options that make an info of a warning: counted by warnings.
LENIENT = re.compile(r"plain_rate")
TEXT = """The tables with `x` columns are by `benchmarks/calibration/thresholds.py`: each rule with one of its limits multiplied
by the factor above, on healthy models and on its faulty fixtures and idioms. A cell counts the healthy models accused (by any
finding, an info as well; options that make an error of a warning count errors, those that make an info of one count warnings) and the faulty ones found; beside the option, how
many of both the rule was evaluated on. Faulty models are the fixtures, the idioms that expect the rule, and healthy models with
one fault of the mutation operators (`benchmarks/mutators*.py`): 20 of them together, fewer where few models have a place for the fault."""
Subject = tuple[str, Callable[[], Any], frozenset[str]]  # name, build, codes that are expected


@dataclass(frozen=True)
class Judgement:
    """What a rule says of one model as one of its options moves.

    Attributes:
        subject: the model.
        faulty: whether the rule has to accuse it.
        code: the rule.
        option: the option that moves.
        fired: the factors at which the model is accused.
    """

    subject: str
    faulty: bool
    code: str
    option: str
    fired: tuple[float, ...]


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


def judge(session: Session, rule: Rule, subject: str, *, faulty: bool) -> Iterator[Judgement]:
    """Run one rule at all settings of its options; nothing where it cannot be evaluated."""
    assert rule.options is not None
    assert rule.options_parameter is not None
    try:
        given = evidence(session, rule)
        list(rule.check(**given, **{rule.options_parameter: rule.options()}))
    except Skip:
        return
    for name, value in thresholds(rule).items():
        settings = {factor: moved(rule.options, name, value, factor) for factor in FACTORS}
        # Any finding counts, an info as well; what makes an error is counted by errors.
        least = Level.ERROR if GRAVE.match(name) else Level.WARNING if LENIENT.match(name) else Level.INFO
        fired = [factor for factor, options in settings.items() if options and _fires(rule, given, options, least)]
        yield Judgement(subject, faulty, rule.code, name, tuple(fired))


def _fires(rule: Rule, given: dict[str, Any], options: Options, least: Level) -> bool:
    try:
        found = list(rule.check(**given, **{rule.options_parameter or "": options}))
    except Skip:
        return False
    return any((finding.level or rule.level).at_least(least) for finding in found)


def healthy(arguments: argparse.Namespace) -> Iterator[Subject]:
    """Models that no rule may accuse."""
    for name, make in grid.MODELS.items():
        yield f"grid/{name}", lambda make=make: coerce(grid.with_adamw(make(32)), SetupOptions()), frozenset()
    yield from _builds(sorted((ROOT / "tests" / "idioms").glob("healthy_*.py")))
    for number, (name, build) in enumerate(zoo.zoo(tuple(arguments.lib.split(",")))):
        if name.startswith("nn/") or number % arguments.every == 0:
            yield name, lambda name=name, build=build: coerce(training_setup(name, build).fields, SetupOptions()), frozenset()


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
            if not (count.healthy or count.faulty):
                lines.append(f"| {rule.code} {name} (not measured) | {value:g} |{' |' * len(SHOWN)}")
                continue
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


def counted(judgements: list[Judgement]) -> dict[str, Counts]:
    """By rule and option, how many models were judged and which were accused."""
    counts: dict[str, Counts] = defaultdict(Counts)
    for judgement in judgements:
        count = counts[f"{judgement.code} {judgement.option}"]
        count.faulty += judgement.faulty
        count.healthy += not judgement.faulty
        for factor in judgement.fired:
            (count.found if judgement.faulty else count.accused)[factor].add(judgement.subject)
    return counts


class Measurement:
    """Judges models that were not judged yet and writes a line for each judgement."""

    def __init__(self, file: Path, *, resume: bool) -> None:
        lines = file.read_text(encoding="utf-8").splitlines() if resume and file.exists() else []
        rows = [json.loads(line) for line in lines]
        self.judgements = [Judgement(**{**row, "fired": tuple(row["fired"])}) for row in rows]
        self._done = {(judgement.subject, judgement.code) for judgement in self.judgements}
        file.parent.mkdir(parents=True, exist_ok=True)
        self._out = file.open("a" if resume else "w", encoding="utf-8")

    def evaluated(self, code: str) -> int:
        """On how many faulty models the rule was evaluated."""
        return len({judgement.subject for judgement in self.judgements if judgement.code == code and judgement.faulty})

    def judge(self, subject: str, build: Callable[[], Any], rules: list[Rule], *, faulty: bool) -> None:
        """Judge one model by these rules; a model that does not run here is left out."""
        left = [rule for rule in rules if (subject, rule.code) not in self._done]
        if not left:
            return
        try:
            session = Session(build(), Plan())
            found = [judgement for rule in left for judgement in judge(session, rule, subject, faulty=faulty)]
        except Exception as error:  # a library that is missing here, or a fault of the run
            print(f"{subject}: left out ({type(error).__name__}: {error})", file=sys.stderr)
            return
        self._out.writelines(json.dumps(asdict(judgement)) + "\n" for judgement in found)
        self._out.flush()
        self.judgements += found
        del session  # model, snapshot and graph refer to each other: freed by the collector only
        gc.collect()


def measure(arguments: argparse.Namespace, rules: list[Rule]) -> list[Judgement]:
    """Judge the faulty models, then the healthy ones."""
    complete_torchvision()  # transformers and peft import torchvision where it is installed, and fail with it
    measurement = Measurement(arguments.out, resume=arguments.resume or arguments.tables)
    if arguments.tables:
        return measurement.judgements
    for name, build, codes in faulty():
        measurement.judge(name, build, [rule for rule in rules if rule.code in codes], faulty=True)
    models = healthy_models()
    for rule in rules:
        for name, fields in variants(rule.code, models):
            if measurement.evaluated(rule.code) >= WANTED:
                break
            measurement.judge(name, lambda fields=fields: coerce(fields, SetupOptions()), [rule], faulty=True)
        print(f"{rule.code}: {measurement.evaluated(rule.code)} faulty", flush=True)
    for name, build, _ in () if arguments.faulty else healthy(arguments):
        measurement.judge(name, build, rules, faulty=False)
    return measurement.judgements


def _of_the_zoo(names: set[str]) -> int:
    return sum(name.partition("/")[0] in zoo.LIBRARIES for name in names)


def main() -> None:
    """Measure, print, and with --write keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lib", default="nn,hf")
    parser.add_argument("--every", type=int, default=8)
    parser.add_argument("--rules", default="", help="codes or families, comma separated; all by default")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "thresholds.jsonl")
    parser.add_argument("--resume", action="store_true", help="keep what --out holds and measure the rest")
    parser.add_argument("--tables", action="store_true", help="make the tables of what --out holds, and measure nothing")
    parser.add_argument("--faulty", action="store_true", help="measure faulty models only")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    chosen = tuple(filter(None, arguments.rules.split(",")))
    rules = [rule for rule in registry.load().rules if thresholds(rule) and (not chosen or rule.code.startswith(chosen))]
    judgements = measure(arguments, rules)
    counts = counted(judgements)
    models = {judgement.subject for judgement in judgements if not judgement.faulty}
    if arguments.write and not chosen:
        put("thresholds", f"{TEXT} {len(models)} healthy models were judged, {_of_the_zoo(models)} of them of the zoo.")
    for anchor, members in by_anchor(rules).items():
        text = table(members, counts)
        kept = bool(anchor) and arguments.write and put(f"thresholds {anchor}", text)
        print(f"== {anchor or 'no section'}{' (written)' if kept else ''}\n{text}\n")
    for key, count in counts.items():
        if count.accused[1.0]:
            print(f"accused at the limit: {key}: {', '.join(sorted(count.accused[1.0]))}")


if __name__ == "__main__":
    main()
