"""Limits that stand in the code of probes, multiplied: what they separate, on generated programs of which the answer is known.

    python benchmarks/calibration/code_limits.py [time] [pairs] [terms] [score] [labels] [fall] [noise] [--write]

time: which axis is time (nnlint/time_axis.py). pairs, terms, score, labels, fall: what the loss is asked (nnlint/probes/loss_response/).
noise: made-up inputs (DAT001). Half of the programs have the fault, half have not; each limit of the probe is multiplied in turn, and
the cells count the healthy programs accused and the faulty ones found. Tables: docs/evidence/calibration.md#code-limits.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "rules"), str(ROOT / "benchmarks" / "calibration")]

import code_limits_losses as losses  # noqa: E402
import code_limits_values as values  # noqa: E402
import torch  # noqa: E402
from sections import put  # noqa: E402

FACTORS = (0.25, 0.5, 0.8, 1.0, 1.25, 2.0, 4.0)


@dataclass(frozen=True)
class Part:
    """A probe, or a part of one.

    Attributes:
        module: where the limits stand.
        limits: their names.
        programs: name, whether the fault is in it, and the question whether the probe says so.
    """

    module: str
    limits: Sequence[str]
    programs: Callable[[], Iterator[tuple[str, bool, Callable[[], bool]]]]


RESPONSE = "nnlint.probes.loss_response"
PARTS = {
    "time": Part("nnlint.time_axis", ("_SAME", "_OTHER", "_SMOOTH", "_ROUGH", "_CHANCE"), values.sequences),
    "pairs": Part(f"{RESPONSE}.pairs", ("_CLEAR", "_SPREADS", "_CLOSE", "_MOST", "_CERTAIN"), losses.pairs),
    "terms": Part(f"{RESPONSE}.terms", ("_CLEAR",), losses.terms),
    "score": Part(f"{RESPONSE}.certain", ("_BEYOND",), losses.scores),
    "labels": Part(f"{RESPONSE}.certain", ("_FAR",), losses.labels),
    "fall": Part(f"{RESPONSE}.fall", ("_FASTER",), losses.falls),
    "noise": Part("nnlint_rules.data._scales", ("_ERRORS",), values.noise),
}


@contextmanager
def multiplied(module: str, name: str, factor: float) -> Iterator[float]:
    """A limit in the code times a factor; gives what it is."""
    names = vars(importlib.import_module(module))
    before = names[name]
    names[name] = before * factor
    try:
        yield before
    finally:
        names[name] = before


def table(part: Part) -> tuple[str, list[str]]:
    """The counts for each limit and factor, and the programs that are judged wrongly at the limit itself."""
    programs = list(part.programs())
    counts = [sum(faulty is side for _, faulty, _ in programs) for side in (False, True)]
    head = f"| limit (healthy {counts[0]} / faulty {counts[1]}) | value | " + " | ".join(f"x {factor:g}" for factor in FACTORS) + " |"
    lines = [head, "|" + "---|" * (len(FACTORS) + 2)]
    wrong = [name for name, faulty, found in programs if found() is not faulty]
    for name in part.limits:
        cells = []
        for factor in FACTORS:
            with multiplied(part.module, name, factor) as value:
                said = [(faulty, found()) for _, faulty, found in programs]
            cells.append(" / ".join(str(sum(found for faulty, found in said if faulty is side)) for side in (False, True)))
        lines.append(f"| `{name}` | {value:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines), wrong


def main() -> None:
    """Print the tables, and with --write keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name in arguments.parts or PARTS:
        text, wrong = table(PARTS[name])
        kept = arguments.write and put(f"code {name}", text)
        print(f"== {name}{' (written)' if kept else ''}\n{text}\nwrong at the limit: {', '.join(wrong) or 'none'}\n", flush=True)


if __name__ == "__main__":
    main()
