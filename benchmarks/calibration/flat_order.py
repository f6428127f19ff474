"""How well labels given in one row tell the order in which they go through a batch of words (`nnlint/time_axis.py: flat_order`).

Usage: python benchmarks/calibration/flat_order.py [--draws 40] [--write]

Tags of drawn words, with a share of them wrong; in the order of the words, in the other order, and tags that have nothing to do with
the words. Each row: of how many draws the order is told, told wrongly, and told although there is none.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "rules")]

from benchmarks.calibration.sections import put_section  # noqa: E402 - needs the path
from nnlint.time_axis import flat_order  # noqa: E402

HEADING = "## Order of flat targets"
#: Samples, steps, words, tags.
SIZES = ((8, 6, 20, 4), (16, 11, 20, 5), (32, 20, 100, 9), (32, 50, 1000, 17), (64, 30, 10000, 12))
_INTRODUCTION = """ARC029. Whether labels given in one row go through a batch of words row by row or column by column
(`python benchmarks/calibration/flat_order.py`): in the right order a word tells its tag in 90 % of the places, and in the other order in
a quarter of all places less. Tags of drawn words, a share of them wrong; of how many draws the order is told, told wrongly, and told of
tags that have nothing to do with the words."""
WRONG = (0.0, 0.05, 0.1, 0.2)


def drawn(sizes: tuple[int, int, int, int], wrong: float, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Words by their frequency as in texts, and their tags."""
    samples, steps, words, kinds = sizes
    frequencies = 1 / torch.arange(1.0, words + 1)
    ids = torch.multinomial(frequencies, samples * steps, replacement=True, generator=generator).view(samples, steps)
    tags = torch.randint(0, kinds, (words,), generator=generator)[ids]
    other = torch.randint(0, kinds, tags.shape, generator=generator)
    return ids, torch.where(torch.rand(tags.shape, generator=generator) < wrong, other, tags)


def rows(draws: int) -> Iterator[str]:
    """The lines of the table."""
    yield "| samples x steps, words, tags | wrong tags | told | told wrongly | told of unrelated tags |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    generator = torch.Generator().manual_seed(0)
    for sizes in SIZES:
        for wrong in WRONG:
            told = wrongly = unrelated = 0
            for draw in range(draws):
                ids, tags = drawn(sizes, wrong, generator)
                order = (0, 1) if draw % 2 else (1, 0)
                found = flat_order(ids, (tags if order == (0, 1) else tags.t()).flatten())
                told += found == order
                wrongly += found not in (order, None)
                unrelated += flat_order(ids, drawn(sizes, wrong, generator)[1].flatten()) is not None
            samples, steps, words, kinds = sizes
            counts = " | ".join(f"{count} / {draws}" for count in (told, wrongly, unrelated))
            yield f"| {samples} x {steps}, {words}, {kinds} | {wrong:.0%} | {counts} |"


def main() -> None:
    """Draw and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--write", action="store_true", help="put the table into docs/evidence/calibration.md")
    chosen = parser.parse_args()
    text = "\n".join(rows(chosen.draws))
    print(text)
    if chosen.write:
        put_section(HEADING, f"{HEADING}\n\n{_INTRODUCTION}\n\n{text}")


if __name__ == "__main__":
    main()
