"""Pairs of small programs: one with a fault that few models of thresholds.py have a place for, and one without it.

    python benchmarks/calibration/pairs.py [--rules SIG002,GRD005] [--write]

Each maker (pair_data.py, pair_programs.py, pair_settings.py, pair_trainings.py) draws width, depth, data and severity from a seed, so that the faults reach from mild to
gross. Where a fault shows only in training, the training decides which of two programs is the faulty one, not what the rule measures.
`--write` puts the tables into docs/evidence/calibration.md, between the markers `pairs CODE`.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "rules"), str(ROOT / "benchmarks" / "calibration"), str(ROOT / "tests" / "idioms")]

import pair_data  # noqa: E402
import pair_programs  # noqa: E402
import pair_settings  # noqa: E402
import pair_trainings  # noqa: E402
import torch  # noqa: E402
from sections import put  # noqa: E402
from thresholds import counted, judge, table  # noqa: E402

from nnlint import registry  # noqa: E402
from nnlint.probes.session import Plan, Session  # noqa: E402
from nnlint.setup import SetupOptions, coerce  # noqa: E402

#: Programs of each side.
WANTED = 24
#: Draws after which a maker that gives one side only is left.
MOST = 400
Maker = Callable[[int], Iterator[tuple[bool, dict[str, Any]]]]
MAKERS: dict[str, Maker] = {**pair_data.MAKERS, **pair_programs.MAKERS, **pair_settings.MAKERS, **pair_trainings.MAKERS}


def programs(code: str) -> Iterator[tuple[str, bool, dict[str, Any]]]:
    """Name, whether the fault is in it, and fields: as many of each side as are wanted."""
    left = {True: WANTED, False: WANTED}
    for seed in range(MOST):
        torch.manual_seed(seed)
        for faulty, fields in MAKERS[code](seed):
            if left[faulty]:
                left[faulty] -= 1
                yield f"pairs/{code} {seed} {'faulty' if faulty else 'healthy'}", faulty, fields
        if not any(left.values()):
            return


def main() -> None:
    """Judge the pairs of each rule, print the table, and with --write keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", default=",".join(MAKERS))
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rules = {rule.code: rule for rule in registry.load().rules}
    for code in arguments.rules.split(","):
        found = []
        for name, faulty, fields in programs(code):
            session = Session(coerce(fields, SetupOptions()), Plan())
            found += judge(session, rules[code], name, faulty=faulty)
        counts = counted(found)
        text = table([rules[code]], counts)
        kept = arguments.write and put(f"pairs {code}", text)
        print(f"== {code}{' (written)' if kept else ''}\n{text}", flush=True)
        for key, count in counts.items():
            wrong = [*sorted(count.accused[1.0]), *sorted({n.subject for n in found if n.faulty} - count.found[1.0])]
            print(f"wrong at the limit: {key}: {', '.join(wrong) or 'none'}", flush=True)


if __name__ == "__main__":
    main()
