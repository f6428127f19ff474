"""Check complete training setups that work and publish what nnlint says of them: what it warns of there is suspected to be false.

Usage: python benchmarks/sweep_codes.py [--deep] [--only TEXT] [--page FILE | --no-page]

The setups are those of benchmarks/codes: models, losses, optimizers and data with labels that can be learned, in the style of public
repositories. Writes docs/evidence/codes.md; with `--deep` each is checked in the deep profile as well, which takes minutes.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "rules")]

#: What a look at each finding gave, by "CODE setup"; what is not here counts as false.
VERDICTS: dict[str, str] = {}


@dataclass(frozen=True)
class Row:
    """What one profile says of a setup."""

    setup: str
    profile: str
    seconds: float
    findings: tuple[tuple[str, str, str], ...]


def check_setup(name: str, build: Callable[[], dict[str, Any]], *, deep: bool) -> Row:
    """Build and check one setup; a check that failed is an error of its RUN code."""
    import torch

    import nnlint

    torch.manual_seed(0)
    begun = time.perf_counter()
    report = nnlint.check(build(), deep=deep)
    loud = [found for found in report.findings if found.level.value != "info"]
    findings = tuple((found.level.value, found.code, found.message) for found in loud)
    return Row(name, "deep" if deep else "default", time.perf_counter() - begun, findings)


def check_all(*, deep: bool, only: str = "") -> Iterator[Row]:
    """The rows of all setups whose name holds `only`, in the default profile and, where asked for, in the deep one."""
    from benchmarks import codes

    for name, build in codes.setups():
        if only in name:
            for profile in (False, True) if deep else (False,):
                yield check_setup(name, build, deep=profile)


def verdict(row: Row, code: str) -> str:
    """Why a finding stays, or that it is false."""
    return VERDICTS.get(f"{code} {row.setup}", "false")


def page(rows: list[Row]) -> str:
    """The whole page."""
    from tabulate import tabulate

    from nnlint._version import __version__

    profiles = list(dict.fromkeys(row.profile for row in rows))
    parts = [
        "<!-- Written by benchmarks/sweep_codes.py. -->",
        "# False alarms on training codes",
        (
            f"nnlint {__version__} on complete training setups that work (benchmarks/codes): model, loss, optimizer and data with labels "
            "that can be learned, in the style of public repositories. Made by `python benchmarks/sweep_codes.py` (`--deep` adds the deep profile)."
        ),
        tabulate([_counts(rows, profile) for profile in profiles], headers=_HEADERS, tablefmt="github"),
        "## Setups",
        "Findings at warning or above, of any profile.",
        tabulate(_table(rows), headers=("setup", "findings", "verdict"), tablefmt="github"),
    ]
    return "\n\n".join(parts) + "\n"


_HEADERS = ("profile", "setups", "clean", "errors", "warnings", "false", "warnings a setup")


def _counts(rows: list[Row], profile: str) -> tuple[Any, ...]:
    of = [row for row in rows if row.profile == profile]
    found = [(row, level, code) for row in of for level, code, _ in row.findings]
    warnings = sum(level == "warning" for _, level, _ in found)
    false = sum(verdict(row, code) == "false" for row, _, code in found)
    clean = sum(not row.findings for row in of)
    return profile, len(of), clean, len(found) - warnings, warnings, false, f"{warnings / max(len(of), 1):.3f}"


def _table(rows: list[Row]) -> list[tuple[str, str, str]]:
    table = []
    for name in dict.fromkeys(row.setup for row in rows):
        found: dict[str, tuple[str, str]] = {}
        for row in (row for row in rows if row.setup == name):
            for level, code, _ in row.findings:
                where = f"{found[code][0]}, {row.profile}" if code in found else f"{level} {code} ({row.profile}"
                found[code] = (where, verdict(row, code))
        table.append(
            (name, "; ".join(f"{text})" for text, _ in found.values()), "; ".join(v for _, v in found.values()))
        )
    return table


def main() -> int:
    """Check, print and write the page."""
    parser = argparse.ArgumentParser(description="Check complete training setups that work.")
    parser.add_argument("--deep", action="store_true", help="in the deep profile as well")
    parser.add_argument("--only", default="", metavar="TEXT", help="setups whose name holds TEXT; writes no page")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "evidence" / "codes.md")
    parser.add_argument("--no-page", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for row in check_all(deep=arguments.deep, only=arguments.only):
        rows.append(row)
        print(f"{row.setup} ({row.profile}, {row.seconds:.1f} s): {len(row.findings)} at warning or above")
        for level, code, message in row.findings:
            print(f"    {level} {code}: {message}")
    if not arguments.no_page and not arguments.only:
        arguments.page.write_text(page(rows), encoding="utf-8")
    return 1 if any(verdict(row, code) == "false" for row in rows for _, code, _ in row.findings) else 0


if __name__ == "__main__":
    sys.exit(main())
