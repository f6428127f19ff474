"""What padding does to outputs and losses that are healthy and faulty: the limits of ARC032 and LOS028.

Usage: padding.py [--page]   Figures: docs/evidence/calibration.md#padding.

Checks the idioms of padding in tests/idioms and prints, for each, the change of the outputs when padding is cut off or filled,
relative to what tells samples apart, and the share of the loss's gradient at padded positions. `--page` writes the section.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IDIOMS = ROOT / "tests" / "idioms"
sys.path[:0] = [str(ROOT), str(ROOT / "rules"), str(IDIOMS), str(ROOT / "benchmarks" / "calibration")]

import torch  # noqa: E402
from sections import put  # noqa: E402

from nnlint.finding import Skip  # noqa: E402
from nnlint.probes.session import Plan, Session  # noqa: E402
from nnlint.setup import SetupOptions, coerce  # noqa: E402
from tests.libraries import library  # noqa: E402


def builds() -> Iterator[tuple[str, str, object]]:
    """(kind, name, build function) of the idioms of padding."""
    library("transformers")
    for file in sorted(IDIOMS.glob("*padding.py")):
        spec = importlib.util.spec_from_file_location(file.stem, file)
        if spec is None or spec.loader is None:
            continue
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name, build in vars(module).items():
            if name.startswith("build_"):
                yield file.stem.partition("_")[0], name.removeprefix("build_"), build


def row(kind: str, name: str, build: object) -> str:
    """One line of the table."""
    torch.manual_seed(0)
    stats = Session(coerce(build, SetupOptions()), Plan(seed=0)).evidence("PaddingStats")
    measured = [stats.measured(number) for number in range(len(stats.sequences))]
    cut, filled = (_largest([pair[place] for pair in measured]) for place in (0, 1))
    try:
        share = f"{stats.in_loss.gradient:.2g}"
    except Skip:
        share = "-"
    return f"| {kind} | {name.replace('_', ' ')} | {cut} | {filled} | {share} |"


def _largest(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{max(known):.2g}" if known else "-"


def main() -> None:
    """Measure and print; with `--page`, write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", action="store_true", help="write docs/evidence/calibration.md")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    lines = ["| | program | cut off | filled | gradient share |", "| --- | --- | --- | --- | --- |"]
    for kind, name, build in builds():
        lines.append(row(kind, name, build))
        print(lines[-1], flush=True)
    if arguments.page and not put("padding", "\n".join(lines)):
        raise SystemExit("calibration.md has no section for padding")


if __name__ == "__main__":
    main()
